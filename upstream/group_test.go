package upstream

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/overload"
	"github.com/sluice-gateway/sluice/upstream/spill"
)

// scripted is a member that does what a test says.
type scripted struct {
	name  string
	ill   atomic.Bool
	asked atomic.Int64
	do    func(x *message.Exchange, req *message.Request, resp *message.Response) error
}

func (s *scripted) Name() string             { return s.name }
func (s *scripted) well(int64, float64) bool { return !s.ill.Load() }
func (s *scripted) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error {
	s.asked.Add(1)
	x.Facts.Upstream, x.Facts.UpstreamGroup = s.name, ""
	return s.do(x, req, resp)
}

// answers is a member that answers.
func answers(name string, status int) *scripted {
	return &scripted{name: name, do: func(x *message.Exchange, req *message.Request, resp *message.Response) error {
		x.Facts.Tries++
		resp.Status = status
		return nil
	}}
}

// fails is a member with a problem, after it was sent the request or without that.
func fails(name string, p *message.Problem, sent bool) *scripted {
	return &scripted{name: name, do: func(x *message.Exchange, req *message.Request, resp *message.Response) error {
		if sent {
			x.Facts.Tries++
			if req.Body != nil {
				_, _ = req.Body.Next()
			}
		}
		resp.Header.Set("Retry-After", "77")
		return p
	}}
}

// groupOf makes a group in which each member is a level of its own.
func groupOf(members ...*scripted) *Group {
	c := GroupConfig{Name: "all", MinimumWell: 0.5, Failover: spill.Failover{Consecutive: 3, Return: time.Minute, ReturnMax: time.Minute}}
	var list []Member
	for i, m := range members {
		c.Members = append(c.Members, spill.Member{Name: m.name, Priority: i})
		list = append(list, m)
	}
	return NewGroup(c, list, slog.New(slog.DiscardHandler))
}

func TestGroupGoesOn(t *testing.T) {
	t.Parallel()
	const get, post = "GET", "POST"
	stream := func() message.Body { return &streaming{chunks: []string{"abc"}} }
	bytes := func() message.Body {
		b := &message.Bytes{}
		b.Reset([]byte("abc"))
		return b
	}
	for name, test := range map[string]struct {
		problem *message.Problem
		sent    bool
		method  string
		body    func() message.Body
		on      bool
	}{
		"refused connection":          {message.UpstreamConnect, false, post, stream, true},
		"no connection in time":       {message.UpstreamConnectTime, false, post, stream, true},
		"no endpoint":                 {message.UpstreamNoEndpoint, false, post, stream, true},
		"its breaker is open":         {message.UpstreamBroken, false, post, stream, true},
		"overloaded":                  {message.UpstreamOverloaded, false, post, stream, true},
		"its pool is full":            {message.UpstreamBusy, false, post, stream, true},
		"not believed":                {message.UpstreamUntrusted, false, post, stream, true},
		"closed before it was sent":   {message.UpstreamClosed, false, post, stream, true},
		"its own time is over":        {message.DeadlineExceeded, false, get, nil, true},
		"closed after it was sent":    {message.UpstreamClosed, true, get, nil, true},
		"closed, with a body":         {message.UpstreamClosed, true, "PUT", bytes, true},
		"closed, body is gone":        {message.UpstreamClosed, true, "PUT", stream, false},
		"closed, not idempotent":      {message.UpstreamClosed, true, post, nil, false},
		"no answer in time":           {message.UpstreamTimeout, true, get, nil, true},
		"no answer, not idempotent":   {message.UpstreamTimeout, true, post, bytes, false},
		"malformed answer":            {message.UpstreamMalformed, true, get, nil, true},
		"malformed, why":              {message.UpstreamMalformed.WithDetail("no colon"), true, get, nil, true},
		"malformed, not idempotent":   {message.UpstreamMalformed, true, post, nil, false},
		"speaks another protocol":     {errNotAgreed, false, post, stream, true},
		"the gateway's own trouble":   {message.OutOfDescriptors, false, get, nil, false},
		"the client is gone":          {message.ClientGone, false, get, nil, false},
		"the client sends rubbish":    {message.BadRequestBody, false, get, nil, false},
		"its answer has a large head": {message.UpstreamHeaderLimit, true, get, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := fails("a", test.problem, test.sent), answers("b", 200)
			g := groupOf(first, second)
			var body message.Body
			if test.body != nil {
				body = test.body()
			}
			x := exchange(&wire{}, test.method, body)
			err := g.RoundTrip(x, &x.Request, &x.Response)
			if x.Facts.UpstreamGroup != "all" {
				t.Errorf("facts: %+v", x.Facts)
			}
			if !test.on {
				if err != error(test.problem) || second.asked.Load() != 0 || x.Facts.Upstream != "a" {
					t.Errorf("%v, the second was asked %d times", err, second.asked.Load())
				}
				return
			}
			if err != nil || x.Response.Status != 200 || x.Facts.Upstream != "b" || x.Response.Header.Get("Retry-After") != "" {
				t.Fatalf("%v, %+v, facts %+v", err, x.Response, x.Facts)
			}
			if b, ok := x.Request.Body.(*message.Bytes); ok {
				if chunk, err := b.Next(); err != nil || string(chunk) != "abc" {
					t.Errorf("the second got the body %q, %v", chunk, err)
				}
			}
		})
	}
}

func TestGroupAsksEachOnce(t *testing.T) {
	t.Parallel()
	a, b, c := fails("a", message.UpstreamConnect, false), fails("b", message.UpstreamBroken, false), fails("c", message.UpstreamNoEndpoint, false)
	g := groupOf(a, b, c)
	x := exchange(&wire{}, "GET", nil)
	if err := g.RoundTrip(x, &x.Request, &x.Response); err != error(message.UpstreamNoEndpoint) {
		t.Errorf("%v, want the last one's problem", err)
	}
	if a.asked.Load() != 1 || b.asked.Load() != 1 || c.asked.Load() != 1 || x.Response.Header.Get("Retry-After") != "77" {
		t.Errorf("asked %d, %d, %d", a.asked.Load(), b.asked.Load(), c.asked.Load())
	}
}

// TestGroupIsFullIfAMemberIs: a client that comes back later is served, whatever the others
// have.
func TestGroupIsFullIfAMemberIs(t *testing.T) {
	t.Parallel()
	g := groupOf(fails("a", message.UpstreamConnect, false), fails("b", message.UpstreamBusy, false), fails("c", message.UpstreamNoEndpoint, false))
	x := exchange(&wire{}, "GET", nil)
	if err := g.RoundTrip(x, &x.Request, &x.Response); err != error(message.UpstreamOverloaded) || x.Response.Header.Get("Retry-After") != "1" {
		t.Errorf("%v, Retry-After %q", err, x.Response.Header.Get("Retry-After"))
	}
}

// TestGroupInAGroupComesBack: while it is left it gets no requests, and still it is seen that
// its members are well again.
func TestGroupInAGroupComesBack(t *testing.T) {
	t.Parallel()
	a, b := answers("a", 200), answers("b", 200)
	inner := groupOf(a)
	c := GroupConfig{Name: "outer", Members: []spill.Member{{Name: "all"}, {Name: "b", Priority: 1}}}
	outer := NewGroup(c, []Member{inner, b}, slog.New(slog.DiscardHandler))
	inner.config.Failover.Return, inner.config.Failover.ReturnMax = 1, 1
	inner = NewGroup(inner.config, inner.members, slog.New(slog.DiscardHandler))
	outer.members[0] = inner
	served := func() string {
		x := exchange(&wire{}, "GET", nil)
		if err := outer.RoundTrip(x, &x.Request, &x.Response); err != nil {
			t.Fatal(err)
		}
		return x.Facts.Upstream
	}
	a.ill.Store(true)
	if by := served(); by != "b" || a.asked.Load() != 0 || outer.Views()[0].State != spill.Left {
		t.Errorf("%s has served: %+v", by, outer.Views())
	}
	a.ill.Store(false)
	served() // Its time begins with the last request that found it ill.
	if by := served(); by != "a" {
		t.Errorf("%s has served: %+v, %+v", by, outer.Views(), inner.Views())
	}
}

func TestGroupLeavesWhoFails(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]*scripted{
		"refuses connections": fails("a", message.UpstreamConnect, false),
		"answers with 500":    answers("a", 500),
		"does not answer":     fails("a", message.UpstreamTimeout, true),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			second := answers("b", 200)
			g := groupOf(first, second)
			for range 20 {
				x := exchange(&wire{}, "GET", nil)
				_ = g.RoundTrip(x, &x.Request, &x.Response)
			}
			if first.asked.Load() != 3 || g.Views()[0].State != spill.Left {
				t.Errorf("asked %d times: %+v", first.asked.Load(), g.Views()[0])
			}
		})
	}
	full := fails("a", message.UpstreamOverloaded, false)
	g := groupOf(full, answers("b", 200))
	for range 20 {
		x := exchange(&wire{}, "GET", nil)
		_ = g.RoundTrip(x, &x.Request, &x.Response)
	}
	if full.asked.Load() != 20 || g.Views()[0].State != spill.Serving {
		t.Errorf("who has no room is not ill: %+v", g.Views()[0])
	}
}

func TestGroupHasNoRoom(t *testing.T) {
	t.Parallel()
	first, second := answers("a", 200), answers("b", 200)
	g := groupOf(first, second)
	c := g.config
	c.Members = []spill.Member{
		{Name: "a", Capacity: spill.Capacity{Requests: 1, Per: 3 * time.Second, Burst: 1}},
		{Name: "b", Priority: 1, Capacity: spill.Capacity{Requests: 1, Per: time.Hour, Burst: 1}},
	}
	g = NewGroup(c, g.members, slog.New(slog.DiscardHandler))
	for i, want := range []string{"a", "b"} {
		x := exchange(&wire{}, "GET", nil)
		if err := g.RoundTrip(x, &x.Request, &x.Response); err != nil || x.Facts.Upstream != want {
			t.Errorf("request %d: %v, %q", i, err, x.Facts.Upstream)
		}
	}
	x := exchange(&wire{}, "GET", nil)
	x.Facts.Upstream, x.Facts.Endpoint = "before", "192.0.2.1:80"
	err := g.RoundTrip(x, &x.Request, &x.Response)
	after := x.Response.Header.Get("Retry-After")
	if err != error(message.UpstreamOverloaded) || after != "3" && after != "2" || x.Facts.UpstreamGroup != "all" || x.Facts.Upstream != "" {
		t.Errorf("%v, Retry-After %s, facts %+v", err, after, x.Facts)
	}
	if g.Refused() != 1 {
		t.Errorf("refused: %d", g.Refused())
	}
}

// TestGroupRateAfterAWait: a rate is one of requests that go on, however long each has waited for
// that before.
func TestGroupRateAfterAWait(t *testing.T) {
	t.Parallel()
	g := groupOf(answers("a", 200))
	c := g.config
	c.Members = []spill.Member{{Name: "a", Capacity: spill.Capacity{Requests: 1000, Per: time.Second, Burst: 20}}}
	g = NewGroup(c, g.members, slog.New(slog.DiscardHandler))
	for i := range 20 {
		x := exchange(&wire{}, "GET", nil)
		x.Times.Started = x.Times.Started.Add(-time.Duration(i) * time.Second)
		if err := g.RoundTrip(x, &x.Request, &x.Response); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}

// TestGroupTime shows whose time holds: the group's for all, and a member's as long as it has
// the request.
func TestGroupTime(t *testing.T) {
	t.Parallel()
	var seen []time.Duration
	note := func(then *scripted) *scripted {
		inner := then.do
		then.do = func(x *message.Exchange, req *message.Request, resp *message.Response) error {
			seen = append(seen, x.Deadline.Sub(x.Times.Started))
			x.Deadline = x.Times.Started.Add(time.Second) // Its timeouts.request.
			return inner(x, req, resp)
		}
		return then
	}
	g := groupOf(note(fails("a", message.UpstreamConnect, false)), note(answers("b", 200)))
	g.config.RequestTimeout, g.config.DeadlineField = time.Minute, "X-Wait"
	x := exchange(&wire{}, "GET", nil)
	x.Request.Header.Set("X-Wait", "5000")
	if err := g.RoundTrip(x, &x.Request, &x.Response); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0] != 5*time.Second || seen[1] != 5*time.Second || x.Deadline.Sub(x.Times.Started) != time.Second {
		t.Errorf("the members saw %v; in the end it is %v", seen, x.Deadline.Sub(x.Times.Started))
	}
	x = exchange(&wire{}, "GET", nil)
	x.Times.Started = x.Times.Started.Add(-2 * time.Minute)
	if err := g.RoundTrip(x, &x.Request, &x.Response); err != error(message.UpstreamConnect) || len(seen) != 3 {
		t.Errorf("the time is over: %v, and %d asked", err, len(seen))
	}
}

func TestGroupPanic(t *testing.T) {
	t.Parallel()
	bad := &scripted{name: "a", do: func(*message.Exchange, *message.Request, *message.Response) error { panic("a wrapper's mistake") }}
	g := groupOf(bad)
	c := g.config
	c.Members = []spill.Member{{Name: "a", Capacity: spill.Capacity{Concurrency: 1}}}
	g = NewGroup(c, g.members, slog.New(slog.DiscardHandler))
	for range 3 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			x := exchange(&wire{}, "GET", nil)
			_ = g.RoundTrip(x, &x.Request, &x.Response)
		}()
	}
	if v := g.Views()[0]; v.Active != 0 || bad.asked.Load() != 3 {
		t.Errorf("%+v", v)
	}
}

// TestGroupOfUpstreams is one with real upstreams: one whose origin does not listen, one whose
// endpoints are known to be ill, one whose breaker is open, one without room, and a group.
func TestGroupOfUpstreams(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	good, _ := newUpstream(t, to(o.address))
	inner := NewGroup(GroupConfig{Name: "inner", MinimumWell: 0.5, Members: []spill.Member{{Name: "orders"}}}, []Member{good}, slog.New(slog.DiscardHandler))
	for name, spoil := range map[string]func(c *Config) func(u *Upstream){
		"does not listen": func(c *Config) func(u *Upstream) {
			c.Endpoints[0].Address = refusing(t)
			return func(*Upstream) {}
		},
		"is ill": func(*Config) func(u *Upstream) {
			return func(u *Upstream) { u.Mark(u.Endpoints()[0], Unhealthy, true) }
		},
		"is ejected for the most part": func(c *Config) func(u *Upstream) {
			c.Endpoints = append(c.Endpoints, EndpointConfig{Address: refusing(t), Weight: 3})
			return func(u *Upstream) { u.Mark(u.Endpoints()[1], Ejected, true) }
		},
		"has no endpoint": func(c *Config) func(u *Upstream) {
			c.Endpoints = nil
			return func(*Upstream) {}
		},
		"is broken off": func(c *Config) func(u *Upstream) {
			c.Breaker, c.BreakAll = &breaker.Config{Volume: 1, FailureShare: 0.5, OpenFor: time.Hour}, true
			return func(u *Upstream) { u.breaker.Record(message.Clock(), 0, 0, true, 0) }
		},
		"has endpoints that are broken off": func(c *Config) func(u *Upstream) {
			c.Breaker, c.BreakEach = &breaker.Config{Volume: 1, FailureShare: 0.5, OpenFor: time.Hour}, true
			return func(u *Upstream) { u.Endpoints()[0].breaker.Record(message.Clock(), 0, 0, true, 0) }
		},
		"has no room": func(c *Config) func(u *Upstream) {
			c.Concurrency = &Concurrency{Limiter: overload.Config{Limit: 1}}
			return func(u *Upstream) { u.limiter.Enter() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := to(o.address)
			c.Name = "first"
			then := spoil(&c)
			u, _ := newUpstream(t, c)
			then(u)
			g := NewGroup(GroupConfig{Name: "all", MinimumWell: 0.5, Members: []spill.Member{{Name: "first"}, {Name: "inner", Priority: 1}}}, []Member{u, inner}, slog.New(slog.DiscardHandler))
			for range 5 {
				x := exchange(&wire{}, "POST", &streaming{chunks: []string{"abc"}})
				if err := g.RoundTrip(x, &x.Request, &x.Response); err != nil {
					t.Fatal(err)
				}
				body, err := message.ReadAll(x.Response.Body, 1<<10)
				if err != nil || string(body) != "POST example.com abc" || x.Facts.Upstream != "orders" || x.Facts.UpstreamGroup != "all" || x.Facts.Tries != 1 {
					t.Errorf("%q, %v, facts %+v", body, err, x.Facts)
				}
				x.Response.CloseBody()
			}
		})
	}
}

// TestRegionIsLost closes an origin while many ask: no request is lost, and the region comes
// back later.
func TestRegionIsLost(t *testing.T) {
	t.Parallel()
	near, far := newOrigin(t, echo), newOrigin(t, echo)
	c := to(near.address)
	c.Name = "near"
	first, _ := newUpstream(t, c)
	c = to(far.address)
	c.Name = "far"
	second, _ := newUpstream(t, c)
	g := NewGroup(GroupConfig{
		Name: "all", MinimumWell: 0.5, Members: []spill.Member{{Name: "near"}, {Name: "far", Priority: 1}},
		Failover: spill.Failover{Consecutive: 3, Return: time.Hour, ReturnMax: time.Hour},
	}, []Member{first, second}, slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	var from [2]atomic.Int64
	lost := make(chan struct{})
	for shard := range uint32(8) {
		all.Go(func() {
			for i := range 300 {
				x := exchange(&wire{}, "GET", nil)
				x.Shard = shard
				if err := g.RoundTrip(x, &x.Request, &x.Response); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				if x.Facts.Upstream == "near" {
					from[0].Add(1)
				} else {
					from[1].Add(1)
				}
				if _, err := message.ReadAll(x.Response.Body, 1<<10); err != nil {
					return // Its head had come: what is cut then is cut.
				}
				x.Response.CloseBody()
				if shard == 0 && i == 100 {
					close(lost)
				}
			}
		})
	}
	<-lost
	near.close()
	all.Wait()
	if from[0].Load() == 0 || from[1].Load() == 0 || g.Views()[0].State != spill.Left {
		t.Errorf("near %d, far %d: %+v", from[0].Load(), from[1].Load(), g.Views()[0])
	}
}

func TestGroupAllocations(t *testing.T) {
	first, second := answers("a", 200), answers("b", 200)
	g := groupOf(first, second)
	c := g.config
	c.RequestTimeout = time.Minute
	c.Failover.FailureShare, c.Failover.Volume, c.Failover.Window = 0.5, 20, 10*time.Second
	c.Members = []spill.Member{{Name: "a", Capacity: spill.Capacity{Requests: 10, Per: time.Second, Burst: 5, Concurrency: 5}}, {Name: "b", Priority: 1}}
	g = NewGroup(c, g.members, slog.New(slog.DiscardHandler))
	outer := NewGroup(GroupConfig{Name: "outer", Members: []spill.Member{{Name: "all"}}}, []Member{g}, slog.New(slog.DiscardHandler))
	x := exchange(&wire{}, "GET", nil)
	if n := testing.AllocsPerRun(1000, func() {
		if err := outer.RoundTrip(x, &x.Request, &x.Response); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if first.asked.Load() == 0 || second.asked.Load() == 0 {
		t.Errorf("asked %d and %d", first.asked.Load(), second.asked.Load())
	}
}

// TestGroupLogs: that a member is left and comes back is told in words, times as people write them.
func TestGroupLogs(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := answers("a", 200)
	g := NewGroup(GroupConfig{
		Name:     "all",
		Members:  []spill.Member{{Name: "a"}},
		Failover: spill.Failover{Return: time.Minute, ReturnMax: time.Minute},
	}, []Member{a}, slog.New(slog.NewJSONHandler(&log, nil)))
	a.ill.Store(true)
	now := message.Clock()
	g.well(now, 0)
	a.ill.Store(false)
	g.well(now+int64(time.Minute), 0)
	for _, want := range []string{
		`"msg":"member left","upstream":"all","member":"a","reason":"unwell","for":"1m0s","was":"serving"`,
		`"msg":"member comes back","upstream":"all","member":"a","state":"serving","reason":"was_well"`,
	} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%s is not told once in\n%s", want, log.String())
		}
	}
}
