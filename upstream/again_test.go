package upstream

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

// failing answers 503 as often as it is told, with fields of its own, and then 200.
func failing(times int64, fields string) func(c *played) {
	return func(c *played) {
		for {
			_, body, ok := c.request()
			switch {
			case !ok:
				return
			case c.origin.requests.Load() <= times:
				_, _ = c.Write([]byte("HTTP/1.1 503 X\r\nContent-Length: 0\r\n" + fields + "\r\n"))
			default:
				c.answer(200, body)
			}
		}
	}
}

// TestBodyIsKept is a body that is read before it is sent, because it may be needed again.
func TestBodyIsKept(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		limit   int64
		method  string
		vouched string
		tries   int
	}{
		"short enough":   {5, "PUT", "", 2},
		"too long":       {4, "PUT", "", 1},
		"no limit":       {0, "PUT", "", 1},
		"not idempotent": {5, "POST", "", 1},
		"vouched for":    {5, "POST", "PATCH POST ", 2},
		"others are":     {5, "POST", "POSTS ", 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, failing(1, ""))
			c := to(o.address)
			c.Retry = again(1, "503")
			c.Retry.BodyLimit, c.Retry.Vouched = test.limit, test.vouched
			u, _ := newUpstream(t, c)
			x := exchange(&wire{}, test.method, &ready{streaming{chunks: []string{"he", "llo"}}})
			x.Request.Body.(*ready).length = 5
			status, body, err := ask(u, x)
			if err != nil || x.Facts.Tries != test.tries || test.tries == 2 && (status != 200 || body != "hello") {
				t.Errorf("%d %q %v after %d tries", status, body, err, x.Facts.Tries)
			}
			atRest(t, u)
		})
	}
}

// TestBodyBreaks is a client that fails while its body is read in advance.
func TestBodyBreaks(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(o.address)
	c.Retry = again(1, "503")
	c.Retry.BodyLimit = 100
	u, _ := newUpstream(t, c)
	x := exchange(&wire{}, "PUT", &streaming{chunks: []string{"he"}, length: 5, err: message.RequestBodyTooSlow})
	if _, _, err := ask(u, x); !errors.Is(err, message.RequestBodyTooSlow) {
		t.Errorf("the problem is %v", err)
	}
	if o.requests.Load() != 0 {
		t.Error("the origin was asked")
	}
	atRest(t, u)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for field, tries := range map[string]int{"Retry-After: 0\r\n": 2, "Retry-After: 3600\r\n": 1, "Retry-After: soon\r\n": 2} {
		o := newOrigin(t, failing(1, field))
		c := to(o.address)
		c.Retry = again(1, "503")
		u, _ := newUpstream(t, c)
		x := exchange(&wire{}, "GET", nil)
		if _, _, err := ask(u, x); err != nil || x.Facts.Tries != tries {
			t.Errorf("%q: %d tries, %v", field, x.Facts.Tries, err)
		}
		atRest(t, u)
	}
}

// TestRetryAfterDate is a date that is compared with the moment at which it is read: the exchange may have begun long before.
func TestRetryAfterDate(t *testing.T) {
	t.Parallel()
	passed := time.Now().Add(-time.Minute).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	o := newOrigin(t, failing(1, "Retry-After: "+passed+"\r\n"))
	c := to(o.address)
	c.Retry = again(1, "503")
	u, _ := newUpstream(t, c)
	x := exchange(&wire{}, "GET", nil)
	x.Times.Started = time.Now().Add(-time.Hour)
	if _, _, err := ask(u, x); err != nil || x.Facts.Tries != 2 {
		t.Errorf("%d tries, %v", x.Facts.Tries, err)
	}
	atRest(t, u)
}

// TestNoPauseBeyondTheDeadline passes an answer on in place of a pause that is longer than the request may take.
func TestNoPauseBeyondTheDeadline(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, failing(100, "Retry-After: 3600\r\n"))
	c := to(o.address)
	c.Retry = again(1, "503")
	c.Retry.Backoff.AfterCap = 2 * time.Hour
	c.RequestTimeout = time.Minute
	u, n := newUpstream(t, c)
	if status, _, err := ask(u, exchange(&wire{}, "GET", nil)); status != 503 || err != nil || n.retried.Load() != 0 {
		t.Errorf("%d, %v, %d further tries", status, err, n.retried.Load())
	}
}

// TestGoneDuringBackoff is a client that leaves while a further try is waited for.
func TestGoneDuringBackoff(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, failing(100, "Retry-After: 3600\r\n"))
	c := to(o.address)
	c.Retry = again(1, "503")
	c.Retry.Backoff.AfterCap = 2 * time.Hour
	u, _ := newUpstream(t, c)
	w := &wire{awaited: make(chan struct{}, 10)}
	x := exchange(w, "GET", nil)
	go func() {
		<-w.awaited // For the connection.
		<-w.awaited // For the answer.
		<-w.awaited // For the end of the pause.
		w.hangUp()
	}()
	if _, _, err := ask(u, x); !errors.Is(err, message.ClientGone) {
		t.Errorf("the problem is %v", err)
	}
	if u.budget.Underway() != 0 {
		t.Error("the budget was not given back")
	}
	atRest(t, u)
}

// TestBudget is an upstream all of whose answers are bad.
func TestBudget(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, failing(1<<40, ""))
	c := to(o.address)
	c.Retry = again(3, "503")
	c.Retry.Backoff.Base, c.Retry.Backoff.Cap = 1, 1
	c.Retry.Budget.Share, c.Retry.Budget.Minimum = 0.2, 3
	u, n := newUpstream(t, c)
	for range 200 {
		if status, _, err := ask(u, exchange(&wire{}, "GET", nil)); status != 503 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
	}
	if got := n.retried.Load(); got < 20 || got > 43 {
		t.Errorf("%d further tries for 200 requests; the budget is 40 and 3 more", got)
	}
	if u.budget.Underway() != 0 {
		t.Error("the budget was not given back")
	}
	atRest(t, u)
}

// TestBudgetAfterATimeout: an origin that did not answer in time may be busy with the last try still, so what is under
// way counts as well. After other failures nothing is.
func TestBudgetAfterATimeout(t *testing.T) {
	t.Parallel()
	c := to(refusing(t))
	c.Retry = again(1, "timeout")
	c.Retry.Budget = retry.BudgetConfig{Share: 0.5, Minimum: 1}
	u, _ := newUpstream(t, c)
	for range 100 {
		u.budget.Request(message.Clock(), 0)
	}
	timeout, reset := retry.Try{Outcome: retry.Timeout}, retry.Try{Outcome: retry.Reset}
	if !u.afford(&timeout, false) || u.afford(&timeout, false) {
		t.Error("the minimum of one further try is not what may be under way")
	}
	if !u.afford(&reset, false) {
		t.Error("what takes the place of a try that is over is counted as if it was beside it")
	}
}

// TestRefusedIsFree is endpoints that are down beside one that is well: a budget that is
// spent does not matter, and nobody waits.
func TestRefusedIsFree(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, echo)
	c := to(refusing(t), refusing(t), refusing(t), o.address)
	c.Retry = again(3, "connect_failure")
	c.Retry.Budget.Share, c.Retry.Budget.Minimum = 0.001, 1
	c.Retry.Backoff.Base, c.Retry.Backoff.Cap = time.Hour, time.Hour
	u, n := newUpstream(t, c)
	for range 50 {
		if status, _, err := ask(u, exchange(&wire{}, "POST", nil)); status != 200 || err != nil {
			t.Fatalf("%d %v", status, err)
		}
	}
	if n.retried.Load() < 20 || u.budget.Refused() != 0 || u.budget.Underway() != 0 {
		t.Errorf("%d further tries, %d refused, %d under way", n.retried.Load(), u.budget.Refused(), u.budget.Underway())
	}
	atRest(t, u)
}

// TestRefusedByAll is the same where nobody is well: that costs budget.
func TestRefusedByAll(t *testing.T) {
	t.Parallel()
	c := to(refusing(t), refusing(t))
	c.Retry = again(5, "connect_failure")
	c.Retry.Budget.Share, c.Retry.Budget.Minimum = 0.001, 2
	c.Retry.Backoff.Base, c.Retry.Backoff.Cap = 1, 1
	u, n := newUpstream(t, c)
	for range 10 {
		if _, _, err := ask(u, exchange(&wire{}, "GET", nil)); !errors.Is(err, message.UpstreamConnect) {
			t.Fatal(err)
		}
	}
	// For each request one that goes elsewhere, and two that the budget has for all.
	if got := n.retried.Load(); got != 12 || u.budget.Underway() != 0 {
		t.Errorf("%d further tries, %d under way", got, u.budget.Underway())
	}
	atRest(t, u)
}

// TestAllResetAtOnce is an endpoint that dies with much under way: all of it goes
// elsewhere, although that is more than the budget's share of what is under way.
func TestAllResetAtOnce(t *testing.T) {
	t.Parallel()
	const crowd = 30
	dies := make(chan struct{})
	arrived := make(chan struct{}, crowd)
	dying := newOrigin(t, func(c *played) {
		if _, _, ok := c.request(); ok {
			arrived <- struct{}{}
			<-dies
		}
	})
	o := newOrigin(t, echo)
	c := to(dying.address, o.address)
	c.Retry = again(1, "reset")
	c.Retry.Budget.Share, c.Retry.Budget.Minimum = 0.5, 3
	u, _ := newUpstream(t, c)
	u.Mark(u.Endpoints()[0], Unhealthy, true)
	for range 2 * crowd { // What the window has of good days.
		mustAsk(t, u, exchange(&wire{}, "GET", nil))
	}
	u.Mark(u.Endpoints()[0], Unhealthy, false)
	u.Mark(u.Endpoints()[1], Unhealthy, true)
	errs := make(chan error, crowd)
	for range crowd {
		go func() {
			status, _, err := ask(u, exchange(&wire{}, "GET", nil))
			if err == nil && status != 200 {
				err = errors.New("no good answer")
			}
			errs <- err
		}()
	}
	for range crowd {
		<-arrived
	}
	u.Mark(u.Endpoints()[1], Unhealthy, false)
	close(dies)
	for range crowd {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	atRest(t, u)
}
