package policytest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// Gateway runs policies in memory as the engine does, one exchange at a time or many
// at once, in front of an origin that is a function.
type Gateway struct {
	// Keeper is what the policies keep over a reload.
	Keeper *policy.Keeper
	// Metrics are the counters that the policies asked for.
	Metrics *Metrics
	// Origin fills x.Response in the place of a target; its error becomes a problem.
	// Nil answers 200 with the text "hello". Set it before the first exchange.
	Origin func(x *message.Exchange) error
	// Client is the address that exchanges come from. Exchange puts it in.
	Client netip.Addr
	// Dry builds policies the way `sluice check` does.
	Dry bool

	kinds     []policy.Kind
	consumers []*message.Consumer
	links     []link
	vouched   []string
	now       time.Time
}

// link is one policy in the chain.
type link struct {
	kind    string
	stage   policy.Stage
	onFault policy.OnFault
	hooks   policy.Hooks
	lease   *policy.Lease
}

// start is after the moment at which any test process starts, so that
// Exchange.Now is always positive.
var start = time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)

// usual is where exchanges come from unless a test says otherwise.
const usualText = "192.0.2.1"

var usual = netip.MustParseAddr(usualText)

// New builds the policies of a configuration; the test fails if it cannot. They are
// closed when the test ends.
func New(t testing.TB, text string, kinds ...policy.Kind) *Gateway {
	t.Helper()
	g, err := Build(text, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if n := g.Keeper.Len(); n != 0 {
			t.Errorf("%d things are still kept after Close", n)
		}
	})
	return g
}

// Build is New for tests that expect an error.
func Build(text string, kinds ...policy.Kind) (*Gateway, error) {
	g := Idle(kinds...)
	if err := g.Reload("config.yaml", text); err != nil {
		return nil, err
	}
	return g, nil
}

// Idle returns a gateway without policies; Reload gives it some.
func Idle(kinds ...policy.Kind) *Gateway {
	return &Gateway{
		Keeper:  policy.NewKeeper(),
		Metrics: &Metrics{},
		Client:  usual,
		kinds:   kinds,
		now:     start,
	}
}

// Reload builds the policies of another configuration, then closes those of the one
// before. On an error the old ones stay.
func (g *Gateway) Reload(file, text string) error {
	d, err := parse(file, text)
	if err != nil {
		return err
	}
	links, vouched, err := g.build(d)
	if err != nil {
		return err
	}
	old := g.links
	g.links, g.vouched, g.consumers = links, vouched, d.consumers
	return closeAll(old)
}

// Close closes the policies.
func (g *Gateway) Close() error {
	err := closeAll(g.links)
	g.links = nil
	return err
}

func closeAll(links []link) error {
	var errs []error
	for _, l := range links {
		if l.hooks.Close != nil {
			errs = append(errs, l.hooks.Close())
		}
		errs = append(errs, l.lease.Close())
	}
	return errors.Join(errs...)
}

func (g *Gateway) build(d *document) (links []link, vouched []string, err error) {
	shared, rooms, seen := &policy.Shared{}, 0, map[string]int{}
	for _, p := range d.policies {
		kind, err := g.kind(p.kind)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll(links))
		}
		seen[p.kind]++
		name := p.kind
		if n := seen[p.kind]; n > 1 {
			name += "#" + strconv.Itoa(n)
		}
		l := link{kind: p.kind, stage: kind.Stage, onFault: kind.Stage.DefaultOnFault(), lease: g.Keeper.Lease()}
		if p.onFault != nil {
			l.onFault = *p.onFault
		}
		env := &policy.Env{
			Place:       policy.Place{Route: "example", Name: name},
			Logger:      slog.New(slog.DiscardHandler),
			Metrics:     g.Metrics,
			Credentials: d.credentials,
			Dry:         g.Dry,
			Lease:       l.lease,
			Shared:      shared,
			Vouched:     &vouched,
			Rooms:       &rooms,
		}
		l.hooks, err = kind.Build(p.settings, env)
		err = p.settings.Locate(err)
		links = append(links, l)
		if err != nil {
			return nil, nil, errors.Join(err, closeAll(links))
		}
	}
	slices.SortStableFunc(links, func(a, b link) int { return int(a.stage) - int(b.stage) })
	return links, vouched, nil
}

func (g *Gateway) kind(name string) (*policy.Kind, error) {
	for i := range g.kinds {
		if g.kinds[i].Name == name {
			return &g.kinds[i], nil
		}
	}
	return nil, &UnknownKindError{name}
}

// UnknownKindError says that a configuration uses a kind that was not given to New.
type UnknownKindError struct{ Kind string }

func (e *UnknownKindError) Error() string { return fmt.Sprintf("policytest: no kind %q here", e.Kind) }

// Hooks are the hooks of the first policy in the chain.
func (g *Gateway) Hooks() policy.Hooks { return g.links[0].hooks }

// Advance lets time go by.
func (g *Gateway) Advance(d time.Duration) { g.now = g.now.Add(d) }

// Consumer finds a consumer of the configuration, or makes one without groups.
func (g *Gateway) Consumer(name string) *message.Consumer {
	for _, c := range g.consumers {
		if c.Name == name {
			return c
		}
	}
	return &message.Consumer{Name: name}
}

// Exchange returns a request that has just arrived. The target is a path with a
// query, or an absolute URL; fields are names and values in turn.
func (g *Gateway) Exchange(method, target string, fields ...string) *message.Exchange {
	x := &message.Exchange{}
	g.Fill(x, method, target, fields...)
	return x
}

// Fill empties x and makes it a request that has just arrived. It allocates nothing
// once x has room.
func (g *Gateway) Fill(x *message.Exchange, method, target string, fields ...string) {
	x.Reset()
	x.Begin(wire{})
	r := &x.Request
	r.Method, r.Protocol, r.Scheme, r.Authority = method, "HTTP/1.1", "http", "api.example.com"
	if scheme, rest, ok := strings.Cut(target, "://"); ok {
		r.Scheme = scheme
		slash := strings.IndexByte(rest, '/')
		if slash < 0 {
			rest, slash = rest+"/", len(rest)
		}
		r.Authority, target = rest[:slash], rest[slash:]
	}
	r.Path, r.Query, r.HasQuery = strings.Cut(target, "?")
	r.RawPath = r.Path
	for i := 0; i+1 < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		switch {
		case message.EqualFold(name, "host"):
			r.Authority = value
		case message.EqualFold(name, "upgrade"):
			r.Upgrade = value
		case !g.forged(name):
			r.Header.Append(name, value)
		}
	}
	x.Client = message.Client{Address: g.Client, Peer: netip.AddrPortFrom(g.Client, 40000), Listener: "example"}
	switch {
	case g.Client == usual:
		x.Client.AddressText = usualText // costs no allocation
	case g.Client.IsValid():
		x.Client.AddressText = g.Client.String()
	}
	x.Times.Started = g.now
	x.Facts.Route = "example"
}

// forged says whether the gateway alone may send a field, see policy.Env.Vouch.
func (g *Gateway) forged(name string) bool {
	for _, v := range g.vouched {
		if message.EqualFold(strings.ReplaceAll(name, "_", "-"), v) {
			return true
		}
	}
	return false
}

// Answer is how an exchange ended.
type Answer struct {
	Status int // 0 where the connection was closed without an answer
	Header message.Header
	Body   string
	// BodyError is what reading the answer's body to its end came to, if not to its end.
	BodyError error
	Problem   *message.Problem
	// Faults are the errors of the policies that could not decide.
	Faults []error
	// Asked is what the origin was asked, or nil.
	Asked *Asked
}

// Asked is a request as the origin saw it.
type Asked struct {
	Method, Path, Query, Authority string
	Target                         string
	Header                         message.Header
	Body                           string
}

// Serve runs an exchange through all policies and the origin, reads the answer to
// its end, and tells the policies that it is done.
func (g *Gateway) Serve(x *message.Exchange) *Answer {
	a := &Answer{}
	passed, aborted := g.serve(x, a)
	if !aborted {
		a.Status, a.Problem = x.Response.Status, x.Problem()
		a.Header.CopyFrom(&x.Response.Header)
		if message.BodyAllowed(x.Request.Method, a.Status) {
			a.Body, a.BodyError = read(x.Response.Body)
		}
	}
	x.Response.CloseBody()
	if x.Request.Body != nil {
		_ = x.Request.Body.Close()
	}
	for i := passed - 1; i >= 0; i-- {
		if h := g.links[i].hooks.OnDone; h != nil {
			h(x)
		}
	}
	return a
}

// serve is the story of one request: see architecture.
func (g *Gateway) serve(x *message.Exchange, a *Answer) (passed int, aborted bool) {
	verdict := message.Next
	for passed < len(g.links) && verdict == message.Next {
		l := &g.links[passed]
		passed++
		if l.hooks.OnRequest != nil {
			verdict = g.settle(x, a, l, l.hooks.OnRequest(x))
		}
	}
	switch {
	case verdict == message.Abort:
		return passed, true
	case verdict == message.Next:
		g.ask(x, a)
	case x.Problem() != nil:
		answerProblem(x)
	}
	for i := passed - 1; i >= 0; i-- {
		l := &g.links[i]
		if l.hooks.OnResponse == nil {
			continue
		}
		before := x.Problem()
		verdict := g.settle(x, a, l, l.hooks.OnResponse(x))
		if verdict == message.Abort {
			return passed, true
		}
		if p := x.Problem(); p != nil && p != before {
			answerProblem(x)
		}
	}
	return passed, false
}

// settle applies on_fault.
func (g *Gateway) settle(x *message.Exchange, a *Answer, l *link, v message.Verdict) message.Verdict {
	if v != message.Faulted {
		return v
	}
	a.Faults = append(a.Faults, x.TakeFault())
	if l.onFault == policy.FaultAllow {
		return message.Next
	}
	return x.Deny(message.PolicyFault)
}

func (g *Gateway) ask(x *message.Exchange, a *Answer) {
	r := &x.Request
	a.Asked = &Asked{Method: r.Method, Path: r.Path, Query: r.Query, Authority: r.Authority, Target: r.Target()}
	a.Asked.Header.CopyFrom(&r.Header)
	var err error
	if a.Asked.Body, err = read(r.Body); err == nil {
		err = g.answer(x)
	}
	if err == nil {
		return
	}
	p := message.Internal
	if !errors.As(err, &p) && errors.Is(err, message.ErrBodyTooLarge) {
		p = message.RequestTooLarge
	}
	x.Deny(p)
	answerProblem(x)
}

func (g *Gateway) answer(x *message.Exchange) error {
	if g.Origin != nil {
		return g.Origin(x)
	}
	x.Response.Status = 200
	x.Response.Header.Append("Content-Type", "text/plain")
	x.Response.SetBody([]byte("hello"))
	return nil
}

// answerProblem makes the problem the answer, as the engine does (RFC 9457).
func answerProblem(x *message.Exchange) {
	p := x.Problem()
	x.Response.Status = p.Status
	x.Response.Header.Set("Content-Type", "application/problem+json")
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"detail":%q,"code":%q}`, p.Title, p.Status, p.Detail, p.Code)
	x.Response.SetBody([]byte(body))
}

// read reads a body to its end.
func read(body message.Body) (string, error) {
	if body == nil {
		return "", nil
	}
	var all strings.Builder
	for {
		chunk, err := body.Next()
		all.Write(chunk)
		if err == io.EOF {
			return all.String(), nil
		}
		if err != nil {
			return all.String(), err
		}
	}
}

// wire is a connection without a socket. It embeds the interface, so that a method
// which no policy calls need not be written here.
type wire struct{ message.Wire }

func (wire) Started() bool               { return false }
func (wire) Inform(int, *message.Header) {}
func (wire) Await(message.Canceler)      {}
func (wire) Arrived()                    {}
func (wire) Gone() bool                  { return false }
func (wire) BytesIn() int64              { return 0 }
func (wire) BytesOut() int64             { return 0 }
