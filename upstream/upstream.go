// Package upstream sends requests to origins: it chooses an endpoint, finds or
// opens a connection, and tries again where that is safe.
//
// What belongs to an origin lives here and is shared by all routes that use it:
// connection pools, timeouts, retries. Health, breakers and discovery join here.
package upstream

import (
	"errors"
	"fmt"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// Config describes an upstream. It is comparable with Equal, so that a reload can
// keep an upstream that did not change, with its connections.
type Config struct {
	Name      string
	Endpoints []EndpointConfig
	Balance   Balance

	ConnectTimeout time.Duration // default 1s
	IdleTimeout    time.Duration // longest time that a connection stays unused; default 60s
	Limits         http1.ClientLimits

	MaxConnections int // per endpoint; default 512
	MaxIdle        int // per endpoint; default 128

	ProxyProtocol int // version of the header that each connection begins with; 0 is none

	Retry Retry

	Protocol Protocol
	TLS      string // what Secure was given, in words: for Equal
}

// Protocol is what the origins speak.
type Protocol uint8

const (
	HTTP1 Protocol = iota
	HTTP2          // by ALPN over TLS, and with prior knowledge over plain TCP
)

// EndpointConfig is one address of an origin.
type EndpointConfig struct {
	Address string // host:port to connect to
	Secure  bool   // over TLS
	Weight  int    // 1 and more; default 1
}

// Retry says when a request is sent again, to another endpoint if there is one.
type Retry struct {
	Attempts       int // further tries; 0 is none
	ConnectFailure bool
	Statuses       []int // answers after which an idempotent request is sent again
}

// Equal says whether two configurations mean the same.
func (c *Config) Equal(d *Config) bool {
	return fmt.Sprintf("%+v", *c) == fmt.Sprintf("%+v", *d)
}

func (c Config) withDefaults() Config {
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = time.Second
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Minute
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 512
	}
	if c.MaxIdle == 0 {
		c.MaxIdle = 128
	}
	c.Limits = c.Limits.WithDefaults()
	return c
}

// Metrics is what an upstream counts with; *observe.UpstreamMetrics is one.
type Metrics interface {
	Answered(shard uint32, status int, firstByte time.Duration)
	Unanswered(shard uint32)
	Retried(shard uint32)
	Connected(shard uint32, took time.Duration)
	ConnectFailed(shard uint32)
}

// Upstream is a set of endpoints that do the same. It is used by many goroutines.
type Upstream struct {
	made      Config
	config    Config
	metrics   Metrics
	endpoints []*Endpoint
	security  Security // nil without TLS
	balancer  balancer
}

// New makes an upstream. Nothing is connected yet.
func New(config Config, metrics Metrics) *Upstream {
	u := &Upstream{made: config, config: config.withDefaults(), metrics: metrics}
	config = u.config
	for _, e := range config.Endpoints {
		u.endpoints = append(u.endpoints, newEndpoint(u, e))
	}
	u.balancer = newBalancer(config.Balance, u.endpoints)
	return u
}

// Name is the upstream's name.
func (u *Upstream) Name() string { return u.config.Name }

// Config is what the upstream was made of, defaults included.
func (u *Upstream) Config() *Config { return &u.config }

// Endpoints lists the endpoints, for status and explain.
func (u *Upstream) Endpoints() []*Endpoint { return u.endpoints }

// Close closes what is idle; connections in use are closed when they come back.
func (u *Upstream) Close() error {
	for _, e := range u.endpoints {
		e.close()
	}
	return nil
}

// RoundTrip sends req and fills resp with the head of the answer; resp.Body streams the
// rest. The error is a *message.Problem. It runs on the goroutine of the
// exchange and waits for the origin there; a client that goes away ends the wait.
func (u *Upstream) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error {
	x.Facts.Upstream = u.config.Name
	var tried triedSet
	for attempt := 0; ; attempt++ {
		e := u.balancer.pick(tried)
		if e == nil {
			return message.UpstreamNoEndpoint
		}
		x.Facts.Endpoint = e.address
		failure := u.try(x, e, req, resp)
		if failure == nil && !u.retryStatus(req, resp, attempt) {
			return nil
		}
		if failure != nil && !(u.retryFailure(failure, attempt) && sendable(failure, req)) {
			return failure.Problem
		}
		u.metrics.Retried(x.Shard)
		drop(resp)
		tried.add(e.index)
	}
}

// drop gives up an answer that is not good enough. What is there of its body is
// read, so that its connection can be used again; more is not waited for.
func drop(resp *message.Response) {
	if body, ok := resp.Body.(message.Ready); ok {
		for dropped := 0; dropped < http1.UnreadBody && body.Ready(); {
			chunk, err := resp.Body.Next()
			if err != nil {
				break
			}
			dropped += len(chunk)
		}
	}
	resp.CloseBody()
	resp.Reset()
}

// try asks one endpoint. A pooled connection that turns out to be dead costs
// nothing but the look at it: the next one is taken, and at last a new one.
func (u *Upstream) try(x *message.Exchange, e *Endpoint, req *message.Request, resp *message.Response) *http1.Failure {
	if e.h2 != nil {
		return u.tryMultiplexed(x, e, req, resp)
	}
	fresh := false
	for {
		conn, failure := e.pool.take(x, fresh)
		if failure != nil {
			return failure
		}
		pooled := conn.Used() > 0
		var began time.Duration // of this try; the first one begins with the exchange
		if x.Facts.Tries > 0 || x.Times.Connected > 0 {
			began = time.Since(x.Times.Started)
		}
		x.Facts.Tries++
		failure = e.roundTrip(conn, x, req, resp)
		if failure == nil {
			x.Times.FirstByte = time.Since(x.Times.Started)
			u.metrics.Answered(x.Shard, resp.Status, x.Times.FirstByte-began)
			return nil
		}
		if failure.Sent {
			u.metrics.Unanswered(x.Shard)
		} else {
			x.Facts.Tries-- // The origin was not asked.
		}
		if !pooled || !diedUnused(failure, req) || !sendable(failure, req) {
			return failure
		}
		// A connection that had taken the request may have been closed because of it:
		// only a new connection tells.
		fresh = fresh || failure.Sent
	}
}

// tryMultiplexed is try over HTTP/2.
func (u *Upstream) tryMultiplexed(x *message.Exchange, e *Endpoint, req *message.Request, resp *message.Response) *http1.Failure {
	var began time.Duration
	if x.Facts.Tries > 0 {
		began = time.Since(x.Times.Started)
	}
	x.Facts.Tries++
	failure := e.h2.roundTrip(x, req, resp)
	switch {
	case failure == nil:
		x.Times.FirstByte = time.Since(x.Times.Started)
		u.metrics.Answered(x.Shard, resp.Status, x.Times.FirstByte-began)
	case failure.Sent:
		u.metrics.Unanswered(x.Shard)
	default:
		x.Facts.Tries-- // The origin was not asked.
	}
	return failure
}

// diedUnused says that a pooled connection was dead, and that the request may go
// over another one (RFC 9110 §9.2.2, RFC 9112 §9.3.1): not a byte of it was sent, or not
// a byte of the answer came and the method may be repeated.
func diedUnused(f *http1.Failure, req *message.Request) bool {
	if f.Problem != message.UpstreamClosed {
		return false
	}
	return !f.Sent || !f.Answered && message.Idempotent(req.Method)
}

// sendable says whether the request is whole, and makes its body ready to be sent
// again: one that streams is whole as long as nothing was sent, because nothing
// of it was taken.
func sendable(f *http1.Failure, req *message.Request) bool { return req.Rewind() || !f.Sent }

// retryFailure says whether another endpoint may be asked: only where this one has
// certainly not seen the request.
func (u *Upstream) retryFailure(f *http1.Failure, attempt int) bool {
	if attempt >= u.config.Retry.Attempts || !u.config.Retry.ConnectFailure || f.Sent {
		return false
	}
	return f.Problem == message.UpstreamConnect || f.Problem == message.UpstreamConnectTime ||
		f.Problem == message.UpstreamBusy || f.Problem == message.UpstreamClosed
}

// retryStatus says whether an answer is one after which the upstream's
// configuration wants another try, and that is safe.
func (u *Upstream) retryStatus(req *message.Request, resp *message.Response, attempt int) bool {
	if attempt >= u.config.Retry.Attempts || len(u.config.Retry.Statuses) == 0 || !message.Idempotent(req.Method) {
		return false
	}
	for _, status := range u.config.Retry.Statuses {
		if resp.Status == status {
			return req.Rewind()
		}
	}
	return false
}

// outOfDescriptors says that the process or the system has none left.
func outOfDescriptors(err error) bool {
	return errors.Is(err, errTooManyFiles) || errors.Is(err, errTooManyFilesSystem)
}

// Made is the configuration as it was given to New.
func (u *Upstream) Made() *Config { return &u.made }
