// Package upstream sends requests to origins: it chooses an endpoint, finds or
// opens a connection, and tries again where that is safe.
//
// What belongs to an origin lives here and is shared by all routes that use it:
// connection pools, timeouts, retries, health.
package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/workers"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/outlier"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/upstream/retry"
	"github.com/sluice-gateway/sluice/wire/http1"
	"github.com/sluice-gateway/sluice/wire/http2"
)

// Config describes an upstream. It is comparable with Equal, so that a reload can
// keep an upstream that did not change, with its connections.
type Config struct {
	Name      string
	Endpoints []EndpointConfig

	Balance        Balance
	Hash           Hash          // with ConsistentHash
	Sticky         *Sticky       // nil: clients do not stay with their endpoint
	Zone           string        // in which the gateway stands; "": zones make no difference
	ZoneMinimum    float64       // share of the zone's endpoints that must be well for it to serve alone
	PanicThreshold float64       // with a smaller share of well endpoints all are used
	SlowStart      time.Duration // how long a new endpoint is spared; 0: not at all

	ConnectTimeout time.Duration // default 1s
	TryTimeout     time.Duration // from the beginning of a try to the head of its answer; 0: no other than those of its parts
	RequestTimeout time.Duration // from the request's head to the last byte of the answer; 0: none
	DeadlineField  string        // a field of the request that says how many milliseconds the client waits; "": none
	IdleTimeout    time.Duration // longest time that a connection stays unused; default 60s
	Limits         http1.ClientLimits

	MaxConnections int // per endpoint; default 512
	MaxIdle        int // per endpoint; default 128

	ProxyProtocol int // version of the header that each connection begins with; 0 is none

	Retry       Retry
	Health      *Health         // nil: nobody is asked
	Ejection    *outlier.Config // nil: nobody is ejected
	Breaker     *breaker.Config // nil: there is none
	Concurrency *Concurrency    // nil: there is no limit
	// BreakAll and BreakEach say whose breaker there is: the upstream's, each endpoint's.
	BreakAll, BreakEach bool

	Protocol Protocol
	TLS      string // what Secure was given, in words: for Equal

	Discovery string // what Discover was given, in words: for Equal
}

// Protocol is what the origins speak.
type Protocol uint8

const (
	HTTP1 Protocol = iota
	HTTP2          // by ALPN over TLS, and with prior knowledge over plain TCP
	Auto           // what ALPN agrees on; HTTP/1.1 over plain TCP
)

// EndpointConfig is one address of an origin.
type EndpointConfig struct {
	Address  string // host:port to connect to
	Secure   bool   // over TLS
	Weight   int    // 1 and more; default 1
	Zone     string
	Priority int // level; 0 is used first
}

// Retry says when a request is sent again, to another endpoint if there is one.
type Retry struct {
	Attempts  int // further tries; 0 is none
	On        retry.Conditions
	Backoff   retry.Backoff
	Budget    retry.BudgetConfig
	Vouched   string // methods that may be repeated though they are not idempotent, each followed by a space
	BodyLimit int64  // a body of at most this length is read before it is sent, so that it can be sent again
	Hedge     Hedge
}

// Equal says whether two configurations mean the same.
func (c *Config) Equal(d *Config) bool {
	return c.words() == d.words()
}

// words are all settings, those behind pointers too.
func (c Config) words() string {
	health, ejection, breaker, concurrency, sticky := c.Health, c.Ejection, c.Breaker, c.Concurrency, c.Sticky
	c.Health, c.Ejection, c.Breaker, c.Concurrency, c.Sticky = nil, nil, nil, nil, nil
	text := fmt.Sprintf("%+v", c)
	if sticky != nil {
		text += fmt.Sprintf(" sticky %+v %x", *sticky, sticky.fingerprint())
	}
	if health != nil {
		text += fmt.Sprintf(" health %+v", *health)
	}
	if ejection != nil {
		text += fmt.Sprintf(" ejection %+v", *ejection)
	}
	if breaker != nil {
		text += fmt.Sprintf(" breaker %+v", *breaker)
	}
	if concurrency != nil {
		text += fmt.Sprintf(" concurrency %+v", *concurrency)
		if a := concurrency.Limiter.Adaptive; a != nil {
			text += fmt.Sprintf(" adaptive %+v", *a)
		}
	}
	return text
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
	c.Retry.Backoff = c.Retry.Backoff.WithDefaults()
	return c
}

// Metrics is what an upstream counts with; *observe.UpstreamMetrics is one.
type Metrics interface {
	Answered(shard uint32, status int, firstByte time.Duration)
	Unanswered(shard uint32)
	Retried(shard uint32)
	// RetryRefused says that there was no budget for a further try.
	RetryRefused(shard uint32)
	// HedgeWon, HedgeLost and HedgeRefused say what became of a request that was to go to one more
	// endpoint: its answer was used, it was in vain, or it was not sent for want of budget or room.
	HedgeWon(shard uint32)
	HedgeLost(shard uint32)
	HedgeRefused(shard uint32)
	Connected(shard uint32, took time.Duration)
	ConnectFailed(shard uint32)

	// Watch is told what watches the endpoints before anything of that is counted.
	Watch(checks, ejections, breakers bool)
	Checked(good bool)
	Ejected(reason string) // of package outlier
	// Of the upstream's breaker, or of an endpoint's.
	BreakerOpened(endpoint bool)
	BreakerRefused(shard uint32, endpoint bool)
}

// Upstream is a set of endpoints that do the same. It is used by many goroutines.
type Upstream struct {
	made       Config
	config     Config
	metrics    Metrics
	logger     *slog.Logger
	security   Security           // nil without TLS
	complaints observe.LogLimiter // of TLS
	h2         http2.Counters
	workers    workers.Pool // ask for hedged requests

	chosen   atomic.Pointer[selection]
	mu       sync.Mutex // one change of the selection at a time
	closed   bool       // guarded by mu
	renewal  renewal    // guarded by mu
	heritage heritage   // for the first list of endpoints; guarded by mu; nil without

	hashKey  *template.Template // nil without ConsistentHash
	adhesive *adhesive          // nil without Sticky
	budget   *retry.Budget
	limiter  *overload.Limiter // nil without
	// perEndpoint is how many requests may wait for an answer of one endpoint; 0 is no limit.
	perEndpoint int64
	breaker     *breaker.Breaker // nil without
	outliers    *outlier.Set     // nil without
	active      atomic.Int64     // exchanges under way, at all endpoints

	discovered *discovered // nil where the endpoints are configured

	ejected  chan struct{}           // gets a value when an endpoint is; has room for one
	replaced chan struct{}           // gets a value when endpoints have come or gone; has room for one
	tasks    []func(context.Context) // what goes on beside the exchanges
	start    sync.Once
	stop     context.CancelFunc // ends the tasks; guarded by mu; nil before Start
}

// New makes an upstream. Nothing is connected yet. Changes of health are logged; without a
// logger they are not.
func New(config Config, metrics Metrics, logger *slog.Logger) *Upstream {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	u := &Upstream{made: config, config: config.withDefaults(), metrics: metrics, replaced: make(chan struct{}, 1), ejected: make(chan struct{}, 1), logger: logger.With("upstream", config.Name)}
	metrics.Watch(config.Health != nil, config.Ejection != nil, config.Breaker != nil)
	u.budget = retry.NewBudget(u.config.Retry.Budget)
	if u.config.Balance == ConsistentHash {
		u.hashKey = u.config.Hash.parseKey()
	}
	if u.config.Sticky != nil {
		u.adhesive = newAdhesive(u.config.Sticky)
	}
	if u.config.Ejection != nil {
		u.outliers = u.newOutliers()
		u.tasks = append(u.tasks, u.tickOutliers)
	}
	if c := u.config.Concurrency; c != nil {
		u.limiter = overload.New(c.Limiter)
		u.perEndpoint = int64(c.PerEndpoint)
	}
	if u.config.Breaker != nil && u.config.BreakAll {
		u.breaker = u.newBreaker("")
	}
	all := make([]*Endpoint, 0, len(config.Endpoints))
	for _, e := range config.Endpoints {
		all = append(all, newEndpoint(u, e))
	}
	u.use(all)
	if u.config.Retry.Hedge.After > 0 {
		u.workers.Join()
	}
	return u
}

// Start begins what goes on beside the exchanges, such as the checks of health. It is called
// when the upstream comes into use; a second call does nothing. Close ends it.
func (u *Upstream) Start() {
	u.start.Do(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.config.Health != nil {
			u.tasks = append(u.tasks, newChecks(u).run)
		}
		if u.closed || len(u.tasks) == 0 {
			return
		}
		u.discovered.start()
		ctx, cancel := context.WithCancel(context.Background())
		u.stop = cancel
		for _, task := range u.tasks {
			go task(ctx)
		}
	})
}

// SetEndpoints makes a list the upstream's endpoints. One that was there before, and is
// described as before, keeps its connections and what is known of its health. One that
// is described in another way goes on with what is known of it. One that
// leaves is drained: it gets no further request, and each of its connections is closed
// when its exchange has ended.
func (u *Upstream) SetEndpoints(list []EndpointConfig) (added, removed []string) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return nil, nil
	}
	before := map[string]*Endpoint{}
	known := u.heritage
	u.heritage = nil
	if known == nil {
		known = heritage{}
	}
	for _, e := range u.Endpoints() {
		before[e.address] = e
		known[e.identity()] = e
	}
	now := message.Clock()
	all := make([]*Endpoint, 0, len(list))
	for i := range list {
		e := before[list[i].Address]
		if e == nil || !e.same(&list[i]) {
			e = newEndpoint(u, list[i])
			u.continueAs(e, known, now)
			added = append(added, e.address)
		} else {
			delete(before, e.address)
		}
		all = append(all, e)
	}
	u.use(all)
	select {
	case u.replaced <- struct{}{}:
	default:
	}
	for address, e := range before {
		removed = append(removed, address)
		e.close()
	}
	slices.Sort(removed)
	u.mu.Unlock()
	for _, e := range before { // Others may return because of it, so the lock is not held.
		if e.member != nil {
			u.outliers.Leave(e.member, message.Clock())
		}
	}
	return added, removed
}

// Mark says that an endpoint has fallen ill, or is well again as far as that illness
// goes, and whether that is news. Requests heed it at once; of an upstream with many endpoints
// within longestRenewal.
func (u *Upstream) Mark(e *Endpoint, with Illness, ill bool) (changed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mark(e, with, ill)
}

// mark is Mark with the lock held.
func (u *Upstream) mark(e *Endpoint, with Illness, ill bool) (changed bool) {
	before := e.ill.Load()
	after := before &^ uint32(with)
	if ill {
		after |= uint32(with)
	}
	if after == before {
		return false
	}
	if after == 0 {
		e.began.Store(message.Clock())
	}
	e.ill.Store(after)
	e.since.Store(time.Now().UnixMilli())
	u.renewSoon()
	return true
}

// Floods emits, for metrics, the connections over HTTP/2 that were closed because of what origins did.
func (u *Upstream) Floods(emit func(kind string, n int64)) {
	if u.config.Protocol == HTTP1 {
		return
	}
	for kind := range http2.FloodKinds {
		emit(kind.String(), u.h2.Floods[kind].Value())
	}
}

// Name is the upstream's name.
func (u *Upstream) Name() string { return u.config.Name }

// Config is what the upstream was made of, defaults included.
func (u *Upstream) Config() *Config { return &u.config }

// Endpoints lists the endpoints, for status and explain.
func (u *Upstream) Endpoints() []*Endpoint { return u.chosen.Load().all }

// Close closes what is idle; connections in use are closed when they come back.
func (u *Upstream) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed && u.config.Retry.Hedge.After > 0 {
		u.workers.Leave()
	}
	u.closed = true
	if u.stop != nil {
		u.stop()
	}
	for _, e := range u.Endpoints() {
		e.close()
	}
	return nil
}

// Made is the configuration as it was given to New.
func (u *Upstream) Made() *Config { return &u.made }
