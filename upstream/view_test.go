package upstream

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/outlier"
)

// logLines is what an upstream writes.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines counts those that have all the words.
func (l *logLines) lines(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

// logged is an upstream with a log.
func logged(t *testing.T, c Config) (*Upstream, *counts, *logLines) {
	t.Helper()
	n, l := &counts{}, &logLines{}
	u := New(c, n, slog.New(slog.NewTextHandler(l, nil)))
	t.Cleanup(func() { _ = u.Close() })
	return u, n, l
}

func broken500() int { return 500 }

// TestEjectionIsTold: in the view, the metrics and, once, the log.
func TestEjectionIsTold(t *testing.T) {
	t.Parallel()
	a, b := calledOrigin(t, "a", broken500), calledOrigin(t, "b", well)
	c := to(a.address, b.address)
	c.Ejection = &outlier.Config{Consecutive: 2, Base: time.Hour}
	u, n, l := logged(t, c)
	for range 10 {
		_, _ = asks(t, u)
	}
	ill, well := u.Endpoints()[0], u.Endpoints()[1]
	h := ill.Health(message.Clock())
	if h.State != "ejected" || len(h.Illnesses) != 1 || time.Since(h.Since) > time.Minute || h.Ejection.Ejections != 1 || h.Ejection.Reason != outlier.Consecutive ||
		h.Ejection.Back < 50*time.Minute || h.Breaker != nil || !h.Checked.IsZero() {
		t.Errorf("the one that fails: %+v", h)
	}
	if h := well.Health(message.Clock()); h.State != "healthy" || h.Illnesses != nil || h.Ejection.Out || h.Ejection.Ejections != 0 {
		t.Errorf("the other: %+v", h)
	}
	if n.ejected.Load() != 1 || l.lines("endpoint ejected", ill.address) != 1 {
		t.Errorf("%d ejections are counted, %d are in the log", n.ejected.Load(), l.lines("endpoint ejected", ill.address))
	}
	u.Mark(ill, Unhealthy, true)
	if h := ill.Health(message.Clock()); h.State != "unhealthy" || strings.Join(h.Illnesses, " ") != "unhealthy ejected" {
		t.Errorf("with both illnesses: %+v", h)
	}
}

// TestLateNewsOfAnEjection comes when the endpoint is back already: nobody would let it in again.
func TestLateNewsOfAnEjection(t *testing.T) {
	t.Parallel()
	c := to("192.0.2.1:80", "192.0.2.2:80")
	c.Ejection = &outlier.Config{Consecutive: 1, Base: time.Hour}
	u, _ := newUpstream(t, c)
	e := u.Endpoints()[0]
	tell := u.outliers.Config().OnChange
	e.member.Record(message.Clock(), true, 0)
	u.outliers.Readmit(e.member, message.Clock())
	tell(outlier.Change{Member: e.member, Out: true, Reason: outlier.Consecutive})
	if e.State() != "healthy" {
		t.Errorf("it is %s, and its member is out: %v", e.State(), e.member.Out())
	}
	e.member.Record(message.Clock(), true, 0)
	tell(outlier.Change{Member: e.member, Reason: outlier.Consecutive}) // The same the other way round.
	if e.State() != "ejected" {
		t.Errorf("it is %s, and its member is out: %v", e.State(), e.member.Out())
	}
}

// TestReturnWhileEndpointsAreReplaced: the news finds the endpoint that is about to be used.
func TestReturnWhileEndpointsAreReplaced(t *testing.T) {
	t.Parallel()
	c := to("192.0.2.1:80", "192.0.2.2:80")
	c.Ejection = &outlier.Config{Consecutive: 1, Base: time.Hour}
	u, _ := newUpstream(t, c)
	first := u.Endpoints()[0]
	first.member.Record(message.Clock(), true, 0)

	u.mu.Lock() // What SetEndpoints does, and what can come between.
	e := newEndpoint(u, EndpointConfig{Address: first.address, Weight: 2})
	u.continueAs(e, heritage{first.identity(): first}, message.Clock())
	told := make(chan struct{})
	go func() {
		defer close(told)
		u.outliers.Readmit(e.member, message.Clock())
	}()
	for e.member.Out() {
		runtime.Gosched()
	}
	for range 100 {
		runtime.Gosched()
	}
	u.use([]*Endpoint{e, u.Endpoints()[1]})
	u.mu.Unlock()
	<-told
	if e.State() != "healthy" {
		t.Errorf("it is %s, and its member is out: %v", e.State(), e.member.Out())
	}
}

func TestBreakersAreTold(t *testing.T) {
	t.Parallel()
	for _, each := range []bool{false, true} {
		a := calledOrigin(t, "a", broken500)
		c := to(a.address)
		c.Breaker = &breaker.Config{Volume: 2, FailureShare: 0.5, OpenFor: time.Hour, OpenMax: time.Hour}
		c.BreakAll, c.BreakEach = !each, each
		u, n, l := logged(t, c)
		for range 2 {
			_, _ = asks(t, u)
		}
		for range 3 {
			x := exchange(&wire{}, "GET", nil)
			if _, _, err := ask(u, x); err != message.UpstreamBroken {
				t.Errorf("with an open breaker: %v", err)
			}
		}
		now := message.Clock()
		v, ok := u.Breaker(now)
		h := u.Endpoints()[0].Health(now)
		state, has := u.Endpoints()[0].BreakerState()
		if ok == each || has != each || (h.Breaker != nil) != each {
			t.Errorf("each %v: the upstream has one: %v, the endpoint: %v", each, ok, has)
		}
		if each {
			v = *h.Breaker
			if state != breaker.Open {
				t.Errorf("the endpoint's is %v", state)
			}
		}
		if v.State != breaker.Open || v.Opened != 1 || v.Refused != 3 || v.Reopens < 50*time.Minute {
			t.Errorf("each %v: %+v", each, v)
		}
		if n.opened.Load() != 1 || n.refused.Load() != 3 || l.lines("msg=breaker", "state=open") != 1 {
			t.Errorf("each %v: %d openings, %d refusals counted, %d in the log", each, n.opened.Load(), n.refused.Load(), l.lines("msg=breaker", "state=open"))
		}
	}
}

// TestBreakerCloses: that is told once, too.
func TestBreakerCloses(t *testing.T) {
	t.Parallel()
	c := to("10.0.0.7:80")
	c.Breaker = &breaker.Config{Volume: 1, FailureShare: 0.5, OpenFor: time.Second, Successes: 1}
	c.BreakAll = true
	u, n, l := logged(t, c)
	now := message.Clock()
	u.breaker.Record(now, 0, 0, true, 0)
	later := now + int64(2*time.Second)
	u.breaker.Record(later, 0, u.breaker.Allow(later).Probe, false, 0)
	if n.opened.Load() != 1 || l.lines("level=WARN msg=breaker", "state=open", "reason=failures") != 1 || l.lines("level=INFO msg=breaker", "state=closed", "reason=probes_succeeded") != 1 || l.lines("") != 2 {
		t.Errorf("opened %d times; the log:\n%s", n.opened.Load(), l.text.String())
	}
}
