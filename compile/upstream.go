package compile

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/listen/certificates"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/outlier"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/upstream/probe"
	"github.com/sluice-gateway/sluice/upstream/retry"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// sharedUpstream is an upstream that several snapshots may use.
type sharedUpstream struct {
	*upstream.Upstream
	from   *config.Upstream
	origin *certificates.Origin // nil without TLS
	teller *certificates.Origin // TLS to who tells the endpoints; nil without
	users  int                  // snapshots; guarded by Compiler.mu
}

// upstreams makes the upstreams, or takes those that are there already: with
// them their connections stay.
func (b *build) upstreams() {
	for _, item := range b.doc.Upstreams {
		if len(item.Value.Members) > 0 {
			continue
		}
		shared := b.reuseUpstream(item.Value)
		if shared == nil {
			if _, err := template.Parse(item.Value.Balance.Key, template.Use{}); err != nil {
				b.add(item.Problem(item.Value.Name.Mark, "balance.key: "+err.Error()))
			}
			if _, err := retry.Compile(conditions(&item.Value.Retry)); err != nil {
				b.add(item.Problem(item.Value.Name.Mark, "retry.on: "+err.Error()))
			}
			c := b.upstreamConfig(item.Value)
			shared = &sharedUpstream{Upstream: upstream.New(c, b.compiler.options.Gateway.Upstream(c.Name), b.compiler.options.Logger), from: item.Value}
			b.secure(item, shared)
			b.discover(item, shared)
			b.warnSticky(item)
			b.warnLoop(item)
			b.adopt(shared)
		}
		b.compiler.mu.Lock()
		shared.users++
		b.compiler.mu.Unlock()
		if _, ok := b.result.upstreams[item.Value.Name.Value]; ok {
			b.add(item.Problem(item.Value.Name.Mark, "the name of the upstream is given twice"))
		}
		b.result.upstreams[item.Value.Name.Value] = shared
		b.result.Upstreams = append(b.result.Upstreams, shared.Upstream)
		b.pace()
	}
	b.groups()
}

// adopt keeps what is known of endpoints over the change of an upstream.
func (b *build) adopt(shared *sharedUpstream) {
	if b.old == nil || b.dry {
		return
	}
	if old, ok := b.old.upstreams[shared.Name()]; ok {
		shared.Adopt(old.Upstream)
	}
}

// secure loads what an upstream with https endpoints needs.
func (b *build) secure(item config.Item[config.Upstream], shared *sharedUpstream) {
	if shared.Made().TLS == "" {
		if !reflect.ValueOf(item.Value.TLS).IsZero() {
			b.result.Warnings = append(b.result.Warnings, item.Problem(item.Value.Name.Mark, "tls is not used: no endpoint begins with https://"))
		}
		return
	}
	spec := originSpec(item.Value, filepath.Dir(b.doc.Main))
	warnings, err := certificates.CheckOrigin(spec, certificates.Env{})
	for _, w := range warnings {
		b.result.Warnings = append(b.result.Warnings, item.Problem(item.Value.Name.Mark, "tls: "+w))
	}
	if err == nil && !b.dry {
		shared.origin, err = certificates.OpenOrigin(spec, certificates.Env{Logger: b.compiler.options.Logger})
	}
	for _, e := range unjoin(err) {
		b.add(item.Problem(item.Value.Name.Mark, "tls: "+e.Error()))
	}
	if shared.origin != nil {
		shared.Secure(shared.origin)
	}
}

// originSpec makes the TLS of an upstream; files are relative to the main file.
func originSpec(u *config.Upstream, folder string) certificates.OriginSpec {
	t := &u.TLS
	spec := certificates.OriginSpec{
		Upstream:           u.Name.Value,
		Authorities:        inFolder(folder, t.Authorities),
		ServerName:         t.ServerName,
		Names:              t.Names,
		Pins:               t.Pins,
		InsecureSkipVerify: t.InsecureSkipVerify,
		Protocols:          offered(u.Protocol),
	}
	if d := u.Discovery; d != nil && d.DNS != nil && d.DNS.Type == "address" && spec.ServerName == "" {
		spec.ServerName = strings.TrimSuffix(d.DNS.Name, ".") // Certificates are for the name, and not for the addresses behind it.
	}
	if t.Certificate != "" {
		spec.Certificate = &certificates.Files{Certificate: inFolder(folder, t.Certificate), Key: inFolder(folder, t.Key)}
	}
	return spec
}

// protocolsOfOrigins are the words of the setting protocol.
var protocolsOfOrigins = map[string]upstream.Protocol{
	listen.HTTP1: upstream.HTTP1, listen.HTTP2: upstream.HTTP2, "auto": upstream.Auto,
}

// offered is what an origin may choose from (ALPN).
func offered(protocol string) []string {
	if protocolsOfOrigins[protocol] == upstream.Auto {
		return []string{listen.HTTP2, listen.HTTP1}
	}
	return []string{protocol}
}

// secured says in words how TLS is spoken, "" where no endpoint wants it. A file and an
// HTTP server may tell any day that one does.
func secured(u *config.Upstream) string {
	if d := u.Discovery; d != nil && (d.Scheme == "https" || d.File != "" || d.HTTP != nil) {
		return fmt.Sprintf("%+v", u.TLS)
	}
	for _, e := range u.Endpoints {
		if e.URL.Secure() {
			return fmt.Sprintf("%+v", u.TLS)
		}
	}
	return ""
}

// Refresh takes up certificates for origins that were renewed on disk. It is called
// every few seconds, by the goroutine that owns the result or one at a time.
func (r *Result) Refresh() { r.EachOrigin((*certificates.Origin).Refresh) }

// EachOrigin goes through the TLS to origins, and to who tells of them. It may be called on any
// goroutine.
func (r *Result) EachOrigin(do func(*certificates.Origin)) {
	for _, u := range r.upstreams {
		for _, o := range []*certificates.Origin{u.origin, u.teller} {
			if o != nil {
				do(o)
			}
		}
	}
}

func (b *build) reuseUpstream(from *config.Upstream) *sharedUpstream {
	if b.old == nil {
		return nil
	}
	old, ok := b.old.upstreams[from.Name.Value]
	if !ok {
		return nil
	}
	if old.from == from {
		return old
	}
	c := b.upstreamConfig(from)
	if !old.Made().Equal(&c) {
		return nil
	}
	return old
}

func (b *build) upstreamConfig(u *config.Upstream) upstream.Config {
	c := upstreamConfig(u)
	c.Sticky = b.sticky(u)
	c.Discovery = discoveryWords(u.Discovery, filepath.Dir(b.doc.Main))
	return c
}

func upstreamConfig(u *config.Upstream) upstream.Config {
	c := upstream.Config{
		Name:           u.Name.Value,
		Balance:        balances[u.Balance.Chooses()],
		PanicThreshold: u.PanicThreshold.Fraction(),
		SlowStart:      u.SlowStart.Std(),
		ConnectTimeout: u.Timeouts.Connect.Std(),
		TryTimeout:     u.Timeouts.Try.Std(),
		RequestTimeout: u.Timeouts.Request.Std(),
		DeadlineField:  u.Timeouts.DeadlineHeader,
		IdleTimeout:    u.Timeouts.Idle.Std(),
		MaxConnections: u.Connections.Max,
		MaxIdle:        u.Connections.Idle,
		ProxyProtocol:  proxyVersions[u.ProxyProtocol],
		Limits: http1.ClientLimits{
			HeaderBytes:     int(u.Limits.HeaderBytes.Bytes()),
			ResponseTimeout: u.Timeouts.Response.Std(),
			BodyTimeout:     u.Timeouts.Body.Std(),
		},
	}
	for _, e := range u.Endpoints {
		c.Endpoints = append(c.Endpoints, upstream.EndpointConfig{
			Address:  hostPort(e.URL.Host(), e.URL.Port()),
			Weight:   e.Weight,
			Zone:     e.Zone,
			Priority: e.Priority,
			Secure:   e.URL.Secure(),
		})
	}
	if u.Zone != nil {
		c.Zone, c.ZoneMinimum = u.Zone.Name, u.Zone.Minimum.Fraction()
	}
	c.Protocol = protocolsOfOrigins[u.Protocol]
	c.TLS = secured(u)
	c.Retry = retrySettings(&u.Retry)
	c.Health = health(u.Health, &c)
	c.Ejection = ejection(u.Ejection)
	c.Breaker = breakerSettings(u.Breaker)
	c.Concurrency = concurrency(u.Concurrency)
	if c.Balance == upstream.ConsistentHash {
		c.Hash = upstream.Hash{Key: u.Balance.Key, Ring: u.Balance.Table == "ring", Bound: u.Balance.Bound.Float()}
	}
	if u.Breaker != nil {
		c.BreakAll, c.BreakEach = slices.Contains(u.Breaker.Scope, "upstream"), slices.Contains(u.Breaker.Scope, "endpoint")
	}
	return c
}

// retrySettings are the settings of retries; their conditions were checked.
func retrySettings(r *traffic.Retry) upstream.Retry {
	on, _ := retry.Compile(conditions(r))
	s := upstream.Retry{
		Attempts:  r.Attempts,
		On:        on,
		Backoff:   retry.Backoff{Base: r.Backoff.Base.Std(), Cap: r.Backoff.Max.Std(), AfterCap: r.Backoff.RetryAfter.Std()},
		Budget:    retry.BudgetConfig{Share: r.Budget.Fraction(), Minimum: r.BudgetMinimum},
		BodyLimit: r.Body.Bytes(),
	}
	for _, method := range r.Methods {
		s.Vouched += method + " "
	}
	if h := r.Hedge; h != nil {
		s.Hedge = upstream.Hedge{After: h.After.Std(), Max: h.Max}
		for _, method := range h.Methods {
			s.Hedge.Methods += method + " "
		}
	}
	return s
}

var probeKinds = map[string]probe.Kind{"http": probe.HTTP, "tcp": probe.TCP, "grpc": probe.GRPC}

// health says how the endpoints of an upstream are asked, over connections such as those of requests.
func health(h *traffic.Health, of *upstream.Config) *upstream.Health {
	if h == nil {
		return nil
	}
	c := probe.Config{
		Kind: probeKinds[h.Protocol], Timeout: h.Timeout.Std(),
		Method: h.Method, Path: h.Path, Host: h.Host, HTTP2: of.Protocol == upstream.HTTP2,
		ProxyProtocol: of.ProxyProtocol, Body: h.Body, Service: h.Service,
	}
	for _, s := range h.Statuses {
		c.Statuses = append(c.Statuses, probe.Range(s))
	}
	for _, f := range h.Headers {
		c.Fields = append(c.Fields, [2]string{f.Key, f.Value.Reveal()})
	}
	return &upstream.Health{
		Probe: c, Interval: h.Interval.Std(), Jitter: h.Jitter.Fraction(), Unhealthy: h.Unhealthy, Healthy: h.Healthy,
	}
}

func ejection(e *traffic.Ejection) *outlier.Config {
	if e == nil {
		return nil
	}
	return &outlier.Config{
		Consecutive:   e.Consecutive,
		FailureShare:  e.FailureShare.Fraction(),
		SuccessFactor: e.SuccessDeviations.Float(),
		LatencyFactor: e.Latency.Float(),
		Interval:      e.Interval.Std(),
		Volume:        e.MinimumRequests,
		Base:          e.Time.Std(),
		Max:           e.MaxTime.Std(),
		MaxShare:      e.MaxShare.Fraction(),
	}
}

func breakerSettings(b *traffic.Breaker) *breaker.Config {
	if b == nil {
		return nil
	}
	return &breaker.Config{
		FailureShare: b.FailureShare.Fraction(),
		SlowShare:    b.SlowShare.Fraction(),
		SlowAfter:    b.SlowAfter.Std(),
		Window:       b.Window.Std(),
		Volume:       b.MinimumRequests,
		OpenFor:      b.Open.Std(),
		OpenMax:      b.MaxOpen.Std(),
		Probes:       b.Probes,
		Successes:    b.Successes,
	}
}

func concurrency(c *traffic.Concurrency) *upstream.Concurrency {
	if c == nil {
		return nil
	}
	settings := &upstream.Concurrency{PerEndpoint: c.PerEndpoint, Limiter: overload.Config{
		Limit:     c.Limit,
		Queue:     c.Queue,
		Timeout:   c.Wait.Std(),
		LIFOAfter: c.Overload.Std(),
	}}
	if c.Adaptive() {
		settings.Limiter.Limit = firstLimit
		settings.Limiter.Adaptive = &overload.AdaptiveConfig{Min: c.Min, Max: c.Max, Tolerance: c.Tolerance.Float()}
	}
	if c.Limit == 0 && c.PerEndpoint > 0 {
		settings.Limiter.Limit = math.MaxInt32 // As many as the endpoints may have together.
	}
	for _, g := range c.Groups {
		settings.Groups = append(settings.Groups, upstream.GroupPriority{Group: g.Key, Priority: g.Value})
	}
	return settings
}

// firstLimit is where an adaptive limit begins.
const firstLimit = 20

func conditions(r *traffic.Retry) []string {
	words := make([]string, 0, len(r.On))
	for _, on := range r.On {
		if on != "" { // What could not be read is a problem already.
			words = append(words, string(on))
		}
	}
	return words
}

var balances = map[string]upstream.Balance{
	"round_robin":     upstream.RoundRobin,
	"least_request":   upstream.LeastRequest,
	"random":          upstream.Random,
	"peak_ewma":       upstream.PeakEWMA,
	"consistent_hash": upstream.ConsistentHash,
}

var proxyVersions = map[string]int{"off": 0, "v1": 1, "v2": 2}

// finder gives targets the upstreams that they name, and remembers which.
type finder struct {
	build *build
	found []target.RoundTripper
}

func (f *finder) find(name string) (target.RoundTripper, error) {
	if u := f.build.result.origin(name); u != nil {
		f.found = append(f.found, u)
		return u, nil
	}
	return nil, errors.New(f.build.unknown(name))
}
