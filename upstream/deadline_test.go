package upstream

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/breaker"
	"github.com/sluice-gateway/sluice/upstream/overload"
)

// TestDeadline bounds the wait for a connection, and starts nothing that is too late.
func TestDeadline(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	u, n := newUpstream(t, limited(o.address, 1))
	first := begin(t, u)
	x := exchange(&wire{}, "GET", nil)
	x.Deadline = time.Now().Add(20 * time.Millisecond)
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) || time.Now().Before(x.Deadline) {
		t.Errorf("a wait for a connection ends with %v", err)
	}
	answered := n.answered.Load()
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) {
		t.Errorf("an exchange that is too late ends with %v", err)
	}
	finish(t, first)
	if _, _, err := ask(u, x); !errors.Is(err, message.DeadlineExceeded) || n.answered.Load() != answered || x.Facts.Tries != 0 {
		t.Errorf("too late, with a connection: %v, %d tries", err, x.Facts.Tries)
	}
	x.Deadline = time.Time{}
	mustAsk(t, u, x)
	atRest(t, u)
	x.Deadline = time.Now().Add(-time.Millisecond)
	if f := connectFailure(x, context.DeadlineExceeded); f.Problem != message.DeadlineExceeded {
		t.Errorf("a connection that took too long: %v", f)
	}
}

// TestTimesBeginAfterAWait is a request that a policy, or a target that has failed, has held back for longer than
// the upstream's own times: they begin when it is asked.
func TestTimesBeginAfterAWait(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.TryTimeout, c.RequestTimeout = time.Minute, time.Minute
	c.Balance = PeakEWMA
	u, _ := newUpstream(t, c)
	x := exchange(&wire{}, "GET", nil)
	x.Times.Started, x.Times.Waited = time.Now().Add(-time.Hour), true
	mustAsk(t, u, x)
	if took := u.Endpoints()[0].latency.Value(message.Clock(), time.Hour); took <= 0 || took > time.Minute {
		t.Errorf("the wait is taken for the origin's: %v", took)
	}
	atRest(t, u)
}

// TestTryBeginsAfterItsBody is a body that is kept, and comes more slowly than a try may take.
func TestTryBeginsAfterItsBody(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.TryTimeout = time.Minute
	c.Retry = again(1, "503")
	c.Retry.BodyLimit = 100
	u, _ := newUpstream(t, c)
	x := exchange(&wire{}, "PUT", nil)
	x.Request.Body = &late{x: x, streaming: streaming{chunks: []string{"hello"}, length: 5}}
	if body := mustAsk(t, u, x); body != "PUT example.com hello" || x.Facts.Tries != 1 {
		t.Errorf("%q after %d tries", body, x.Facts.Tries)
	}
	atRest(t, u)
}

// TestSlowClientIsNoFailure is a try whose time is over. Where the body was there the endpoint is blamed, and not
// where its client is still sending.
func TestSlowClientIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{true, false} {
		o, _ := holding(t)
		c := to(o.address)
		c.TryTimeout = 30 * time.Millisecond
		c.Breaker, c.BreakAll, c.BreakEach = &breaker.Config{FailureShare: 0.5, Volume: 1, OpenFor: time.Hour}, true, true
		u, _ := newUpstream(t, c)
		x := exchange(&wire{}, "POST", message.NewBytes([]byte("hello")))
		if slow {
			hold := make(chan struct{})
			x.Request.Body = &stuck{streaming{chunks: []string{"he"}, length: 5}, hold}
			x.Begin(&stopping{hold: hold})
		}
		if _, _, err := ask(u, x); !errors.Is(err, message.UpstreamTimeout) {
			t.Errorf("slow %t: %v", slow, err)
		}
		now := message.Clock()
		if all, one := u.breaker.Allow(now).OK, u.Endpoints()[0].breaker.Allow(now).OK; all != slow || one != slow {
			t.Errorf("slow %t: the breakers let through: %t, %t", slow, all, one)
		}
	}
}

// stuck is a body whose rest does not come until hold is closed.
type stuck struct {
	streaming
	hold chan struct{}
}

func (b *stuck) Next() ([]byte, error) {
	if b.read == len(b.chunks) {
		<-b.hold
		return nil, message.ClientGone
	}
	return b.streaming.Next()
}

// stopping is the wire of a client whose body can be stopped.
type stopping struct {
	wire
	hold chan struct{}
}

func (w *stopping) StopBody() { close(w.hold) }

// late is a body that makes its exchange an hour older.
type late struct {
	streaming
	x *message.Exchange
}

func (b *late) Next() ([]byte, error) {
	b.x.Times.Started = b.x.Times.Started.Add(-time.Hour)
	return b.streaming.Next()
}

// TestLimitTime: the time of an upstream begins when it is asked, that of the client with the
// exchange, and what is left is told.
func TestLimitTime(t *testing.T) {
	t.Parallel()
	const field = "X-Wait-Ms"
	hour := func(n int) time.Duration { return time.Duration(n) * time.Hour }
	for name, test := range map[string]struct {
		asked           bool // another upstream was asked before
		whole           time.Duration
		says            string
		before          time.Duration // the deadline so far, 0 for none
		deadline, named time.Duration // from the start, 0 for none
	}{
		"nothing":                      {},
		"the upstream's":               {whole: hour(3), deadline: hour(3)},
		"the upstream's, second":       {asked: true, whole: hour(3), deadline: hour(13)},
		"the client's":                 {says: "3600000", deadline: hour(1), named: hour(1)},
		"the client's, second":         {asked: true, says: "39600000", deadline: hour(11), named: hour(11)},
		"both":                         {whole: hour(3), says: "3600000", deadline: hour(1), named: hour(1)},
		"both, the upstream's is soon": {whole: hour(1), says: "7200000", deadline: hour(1), named: hour(2)},
		"one from before":              {before: hour(1), whole: hour(2), says: "7200000", deadline: hour(1), named: hour(2)},
		"no number":                    {says: "soon"},
		"too long":                     {says: "86400001"},
		"none":                         {says: "0"},
	} {
		x := exchange(&wire{}, "GET", nil)
		if test.asked {
			x.Times.Started, x.Facts.Tries = time.Now().Add(-hour(10)), 1
		}
		if test.before > 0 {
			x.Deadline = x.Times.Started.Add(test.before)
		}
		if test.says != "" {
			x.Request.Header.Set(field, test.says)
		}
		limitTime(x, &x.Request, test.whole, field)
		tellTime(x, &x.Request, field)
		near := func(got time.Time, want time.Duration) bool {
			if want == 0 {
				return got.IsZero()
			}
			off := got.Sub(x.Times.Started.Add(want))
			return off >= 0 && off < time.Minute
		}
		if !near(x.Deadline, test.deadline) || !near(x.ClientDeadline, test.named) {
			t.Errorf("%s: the deadline is %v, the client's %v after the start", name, x.Deadline.Sub(x.Times.Started), x.ClientDeadline.Sub(x.Times.Started))
		}
		if told := x.Request.Header.Get(field); test.deadline == 0 && told != test.says || test.deadline > 0 && (told == test.says && test.whole == hour(1) || told == "") {
			t.Errorf("%s: the origin is told %q", name, told)
		}
	}
}

// TestTimeInTheQueueIsNotTold has a call wait for another one, and looks at what its origin is told then.
func TestTimeInTheQueueIsNotTold(t *testing.T) {
	t.Parallel()
	told, release := make(chan http.Header, 2), make(chan bool)
	o := newOrigin(t, func(c *played) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			told <- r.Header
			if !<-release {
				return
			}
			c.answer(200, "")
		}
	})
	t.Cleanup(func() { close(release) })
	c := to(o.address)
	c.Concurrency = &Concurrency{Limiter: overload.Config{Limit: 1, Queue: 1, Timeout: time.Minute}}
	c.RequestTimeout = 90 * time.Second
	u, _ := newUpstream(t, c)
	asked := func() (*message.Exchange, chan error) {
		x := calling(nil)
		x.Request.Header.Append("Grpc-Timeout", message.FormatGRPCTimeout(time.Hour))
		return x, asking(u, x)
	}
	_, first := asked()
	if left, ok := message.ParseGRPCTimeout((<-told).Get("Grpc-Timeout")); !ok || left > 90*time.Second {
		t.Errorf("of the upstream's 90s %v are told", left)
	}
	x, second := asked()
	until(t, u, "one waits", func(v overload.View) bool { return v.Waiting == 1 })
	waited := time.Since(x.Times.Started)
	release <- true
	if left, ok := message.ParseGRPCTimeout((<-told).Get("Grpc-Timeout")); !ok || left > 90*time.Second-waited {
		t.Errorf("%v are told of 90s, of which %v were spent in the queue", left, waited)
	}
	release <- true
	for _, result := range []chan error{first, second} {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}
