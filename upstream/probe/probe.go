// Package probe asks an endpoint whether it is well: over HTTP, with gRPC's health
// protocol, or by opening a connection. It keeps no state: who asks how often, and what
// follows from the answers, is package upstream's affair.
package probe

//lint:file-ignore SA1019 What is to be used instead has the toolchain's copy of HTTP/2, and with it its faults.

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-gateway/sluice/internal/grpchealth"
	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
)

// Kind is how an endpoint is asked.
type Kind uint8

const (
	HTTP Kind = iota // a request, and its answer's status
	TCP              // a connection, with TLS where the endpoint has it
	GRPC             // grpc.health.v1.Health/Check
)

// Config says what is asked, and which answer is a good one.
type Config struct {
	Kind    Kind
	Timeout time.Duration // for the whole probe

	Method string      // default GET
	Path   string      // with its query; default /
	Host   string      // default: the endpoint's address
	Fields [][2]string // names and values
	HTTP2  bool        // the endpoint speaks HTTP/2, with prior knowledge where it has no TLS; else what ALPN agrees on, or HTTP/1.1

	ProxyProtocol int // version of the header that a connection begins with, in which the gateway speaks for itself; 0 is none

	Statuses []Range // default 200 to 299
	Body     string  // what the body must contain within its first MaxBody bytes

	Service string // of gRPC; "": the server as a whole
}

// MaxBody is how much of a body is looked at, in bytes.
const MaxBody = 64 << 10

// Range is a range of statuses, both ends included.
type Range struct{ From, To int }

// Equal says whether two ask the same, and for the same answer, however long they wait for it.
func (c Config) Equal(d Config) bool {
	c.Timeout, d.Timeout = 0, 0
	return reflect.DeepEqual(c, d)
}

// Prober asks endpoints. Its methods may be called from any goroutine.
type Prober struct {
	config Config
	secure func(host string) *tls.Config // nil without TLS
}

// New returns a prober. secure makes the TLS settings for an endpoint's host; it may be nil
// where no endpoint has TLS.
func New(config Config, secure func(host string) *tls.Config) *Prober {
	if config.Method == "" {
		config.Method = http.MethodGet
	}
	if config.Path == "" {
		config.Path = "/"
	}
	if len(config.Statuses) == 0 {
		config.Statuses = []Range{{200, 299}}
	}
	return &Prober{config: config, secure: secure}
}

// over sends one request over a connection that was made for it: an endpoint that takes no new
// connections is not well.
func (p *Prober) over(nc net.Conn) http.RoundTripper {
	var used atomic.Bool
	take := func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, net.ErrClosed // A second try would hide what has become of the first one.
		}
		return nc, nil
	}
	if p.speaksHTTP2(nc) {
		return &http2.Transport{
			AllowHTTP: true,
			DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
				return take(ctx, network, address)
			},
			DisableCompression: true,
		}
	}
	return &http.Transport{
		DialContext:            take,
		DialTLSContext:         take,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: MaxBody,
	}
}

// speaksHTTP2 says whether the endpoint is asked over HTTP/2: that was said, or agreed on.
func (p *Prober) speaksHTTP2(nc net.Conn) bool {
	if p.config.Kind == GRPC || p.config.HTTP2 {
		return true
	}
	protected, ok := nc.(*tls.Conn)
	return ok && protected.ConnectionState().NegotiatedProtocol == http2.NextProtoTLS
}

// Probe asks the endpoint at address, which is host:port. A nil error says that it is well.
// It takes no longer than the timeout.
func (p *Prober) Probe(ctx context.Context, address string, secure bool) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	var err error
	if p.config.Kind == TCP {
		err = p.connect(ctx, address, secure)
	} else {
		err = p.ask(ctx, address, secure)
	}
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("probe: no answer within %s", p.config.Timeout)
	}
	return err
}

func (p *Prober) connect(ctx context.Context, address string, secure bool) error {
	nc, err := p.dial(ctx, address, secure)
	if err != nil {
		return fmt.Errorf("probe: connecting: %w", err)
	}
	_ = nc.Close()
	return nil
}

// dial opens a connection.
func (p *Prober) dial(ctx context.Context, address string, secure bool) (net.Conn, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if version := p.config.ProxyProtocol; version != 0 {
		if _, err := nc.Write(proxyprotocol.Append(nil, version, proxyprotocol.Ends{})); err != nil {
			_ = nc.Close()
			return nil, err
		}
	}
	if !secure || p.secure == nil {
		return nc, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	config := p.secure(host)
	if p.config.Kind == GRPC { // Whatever requests are sent over, this is HTTP/2.
		config = config.Clone()
		config.NextProtos = []string{http2.NextProtoTLS}
	}
	protected := tls.Client(nc, config)
	if err := protected.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return protected, nil
}

// ask sends a request and looks at the answer.
func (p *Prober) ask(ctx context.Context, address string, secure bool) error {
	req, err := p.request(ctx, address, secure)
	if err != nil {
		return fmt.Errorf("probe: making the request: %w", err)
	}
	nc, err := p.dial(ctx, address, secure)
	if err != nil {
		return fmt.Errorf("probe: connecting: %w", err)
	}
	defer nc.Close()
	resp, err := p.over(nc).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
	if err != nil {
		return fmt.Errorf("probe: reading the answer: %w", err)
	}
	if p.config.Kind == GRPC {
		return p.judgeGRPC(resp, body)
	}
	return p.judge(resp.StatusCode, body)
}

func (p *Prober) request(ctx context.Context, address string, secure bool) (*http.Request, error) {
	method, path, body := p.config.Method, p.config.Path, io.Reader(nil)
	if p.config.Kind == GRPC {
		method, path, body = http.MethodPost, grpchealth.Path, bytes.NewReader(grpchealth.AppendRequest(nil, p.config.Service))
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+address+path, body)
	if err != nil {
		return nil, err
	}
	for _, f := range p.config.Fields {
		req.Header.Add(f[0], f[1])
	}
	if p.config.Kind == GRPC {
		req.Header.Set("Content-Type", grpchealth.ContentType)
		req.Header.Set("Te", "trailers")
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "sluice-health")
	}
	if p.config.Host != "" {
		req.Host = p.config.Host
	}
	return req, nil
}

func (p *Prober) judge(status int, body []byte) error {
	expected := false
	for _, r := range p.config.Statuses {
		expected = expected || r.From <= status && status <= r.To
	}
	if !expected {
		return fmt.Errorf("probe: the status is %d", status)
	}
	if !bytes.Contains(body, []byte(p.config.Body)) {
		return fmt.Errorf("probe: the body lacks %q", p.config.Body)
	}
	return nil
}

func (p *Prober) judgeGRPC(resp *http.Response, body []byte) error {
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), grpchealth.ContentType) {
		return fmt.Errorf("probe: the answer is no gRPC, its status %d", resp.StatusCode)
	}
	trailer := resp.Trailer
	if trailer.Get("Grpc-Status") == "" {
		trailer = resp.Header
	}
	state, err := grpchealth.Read(trailer.Get("Grpc-Status"), trailer.Get("Grpc-Message"), body)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if state != grpchealth.Serving {
		return fmt.Errorf("probe: the service is %s", state)
	}
	return nil
}
