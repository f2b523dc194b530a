package upstream

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

// malformedHead is an answer over HTTP/2 whose :status is no number.
func malformedHead(stream uint32) string {
	return "\x00\x00\x05\x01\x05" + u32(stream) + "\x08\x039x9"
}

// TestMalformedIsNoAnswer sends a request again after something that is no answer, where it may be
// repeated.
func TestMalformedIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method, vouched, on string
		served              bool
	}{
		"idempotent":  {"GET", "", "reset", true},
		"not so":      {"POST", "", "reset", false},
		"vouched for": {"POST", "POST ", "reset", true},
		"not wanted":  {"GET", "", "503", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := newOrigin(t, echo)
			garbage := newOrigin(t, func(c *played) {
				if _, _, ok := c.request(); ok {
					_, _ = io.WriteString(c, "no HTTP\r\n\r\n")
				}
			})
			retried(t, to(garbage.address, good.address), test.method, test.vouched, test.on, test.served, nil)
			address, _ := strict(t, malformedHead)
			c := Config{Name: "orders", Protocol: HTTP2, ConnectTimeout: 10 * time.Second}
			c.Endpoints = []EndpointConfig{{Address: address, Secure: true}, {Address: newFickle(t, "h2").address, Secure: true}}
			retried(t, c, test.method, test.vouched, test.on, test.served, offering{"h2"})
		})
	}
}

func retried(t *testing.T, c Config, method, vouched, on string, served bool, s Security) {
	t.Helper()
	c.Endpoints[1].Priority = 1 // The other one is the first.
	c.Retry = again(1, on)
	c.Retry.Vouched = vouched
	u, _ := newUpstream(t, c)
	u.Secure(s)
	x := exchange(&wire{}, method, message.NewBytes([]byte("hello")))
	status, _, err := ask(u, x)
	if served && (status != 200 || err != nil || x.Facts.Tries != 2) || !served && (!errors.Is(err, message.UpstreamMalformed) || x.Facts.Tries != 1) {
		t.Errorf("%d, %v after %d tries", status, err, x.Facts.Tries)
	}
	restored(t, u)
}

// TestOtherProtocolElsewhere leaves an endpoint that does not agree on what is wanted for another one,
// whatever the method.
func TestOtherProtocolElsewhere(t *testing.T) {
	t.Parallel()
	c := Config{Name: "orders", Protocol: HTTP2, ConnectTimeout: 10 * time.Second}
	for i, agrees := range []string{"http/1.1", "h2"} {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: newFickle(t, agrees).address, Secure: true, Priority: i})
	}
	c.Retry = again(1, "connect_failure")
	u, _ := newUpstream(t, c)
	u.Secure(offering{"h2"})
	if got := mustAsk(t, u, exchange(&wire{}, "POST", nil)); got != "HTTP/2.0" {
		t.Errorf("asked over %s", got)
	}
}

// TestRetryRefusedIsCounted has no budget for a further try.
func TestRetryRefusedIsCounted(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, failing(100, ""))
	c := to(o.address)
	c.Retry = again(1, "503")
	c.Retry.Budget = retry.BudgetConfig{Share: 0.001, Minimum: 1}
	u, n := newUpstream(t, c)
	for range 3 {
		if status, _, err := ask(u, exchange(&wire{}, "GET", nil)); status != 503 || err != nil {
			t.Errorf("%d, %v", status, err)
		}
	}
	if n.retried.Load() != 1 || n.retryRefused.Load() != 2 {
		t.Errorf("%d further tries, %d refused", n.retried.Load(), n.retryRefused.Load())
	}
}

// unary is the body of a call of gRPC as it mostly comes: of unknown length, and all of it is there.
type unary struct {
	streaming
	complete bool
}

func (b *unary) Complete() int64 {
	if !b.complete || b.read > 0 {
		return -1
	}
	n := 0
	for _, chunk := range b.chunks {
		n += len(chunk)
	}
	return int64(n)
}

// calling is a call of gRPC.
func calling(body message.Body) *message.Exchange {
	x := exchange(&wire{}, "POST", body)
	x.Request.Header.Append("Content-Type", "application/grpc")
	return x
}

// TestCompleteBodyIsKept sends calls of gRPC again whose body was there as a whole.
func TestCompleteBodyIsKept(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		chunks   []string
		complete bool
		on       string
		tries    int
	}{
		"one chunk":       {[]string{"hello"}, true, "grpc:unavailable", 2},
		"several":         {[]string{"he", "llo"}, true, "grpc:unavailable", 2},
		"empty":           {nil, true, "grpc:unavailable", 2},
		"more may come":   {[]string{"hello"}, false, "grpc:unavailable", 1},
		"too long":        {[]string{"hello", "you"}, true, "grpc:unavailable", 1},
		"another failure": {[]string{"hello"}, true, "grpc:internal", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, func(c *played) {
				for {
					_, body, ok := c.request()
					if !ok {
						return
					}
					fields := ""
					if c.origin.requests.Load() == 1 {
						fields = "Grpc-Status: 14\r\n"
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+fields+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
				}
			})
			c := to(o.address)
			c.Retry = again(1, test.on)
			c.Retry.BodyLimit = 6
			u, _ := newUpstream(t, c)
			x := calling(&unary{streaming{chunks: test.chunks}, test.complete})
			status, body, err := ask(u, x)
			if err != nil || status != 200 || body != strings.Join(test.chunks, "") || x.Facts.Tries != test.tries {
				t.Errorf("%d %q %v after %d tries", status, body, err, x.Facts.Tries)
			}
		})
	}
}

// TestPushback heeds what a gRPC server says of further tries.
func TestPushback(t *testing.T) {
	t.Parallel()
	for field, tries := range map[string]int{"0": 2, "1": 2, "-1": 1, "soon": 1, "3600000": 1} {
		o := newOrigin(t, func(c *played) {
			for {
				if _, _, ok := c.request(); !ok {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nGrpc-Status: 14\r\nGrpc-Retry-Pushback-Ms: "+field+"\r\nContent-Length: 0\r\n\r\n")
			}
		})
		c := to(o.address)
		c.Retry = again(1, "grpc:unavailable")
		c.Retry.Backoff = retry.Backoff{Base: time.Hour, Cap: time.Hour, AfterCap: time.Minute}
		u, _ := newUpstream(t, c)
		x := calling(nil)
		if _, _, err := ask(u, x); err != nil || x.Facts.Tries != tries {
			t.Errorf("%q: %d tries, %v", field, x.Facts.Tries, err)
		}
	}
}

// TestTimeIsToldAnew tells each try what is left by then.
func TestTimeIsToldAnew(t *testing.T) {
	t.Parallel()
	told := make(chan http.Header, 2)
	o := newOrigin(t, func(c *played) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			told <- r.Header
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nGrpc-Status: 14\r\nGrpc-Retry-Pushback-Ms: 30\r\nContent-Length: 0\r\n\r\n")
		}
	})
	c := to(o.address)
	c.Retry = again(1, "grpc:unavailable")
	c.DeadlineField = "X-Wait"
	u, _ := newUpstream(t, c)
	x := calling(nil)
	x.Deadline = x.Times.Started.Add(time.Hour)
	x.Request.Header.Append("Grpc-Timeout", message.FormatGRPCTimeout(time.Hour))
	if _, _, err := ask(u, x); err != nil {
		t.Fatal(err)
	}
	first, second := <-told, <-told
	for _, field := range []string{"Grpc-Timeout", "X-Wait"} {
		a, errA := strconv.Atoi(strings.TrimSuffix(first.Get(field), "m"))
		b, errB := strconv.Atoi(strings.TrimSuffix(second.Get(field), "m"))
		if errA != nil || errB != nil || b > a-25 || b < a-60000 {
			t.Errorf("%s is %q, then %q", field, first.Get(field), second.Get(field))
		}
	}
}

// TestTryEndsWithItsHead lets a body take longer than the try may.
func TestTryEndsWithItsHead(t *testing.T) {
	overBoth(t, func(t *testing.T, p Protocol) {
		o := newRunner(t, p)
		u, _ := racing(t, p, never, func(c *Config) { c.Retry.Hedge = Hedge{}; c.TryTimeout = 300 * time.Millisecond }, o)
		o.answer <- runnersAnswer{200, "begin"}
		x := exchange(&wire{}, "GET", nil)
		if err := u.RoundTrip(x, &x.Request, &x.Response); err != nil {
			t.Fatal(err)
		}
		body := x.Response.Body
		if _, err := body.Next(); err != nil {
			t.Fatal(err)
		}
		if body.(message.Waiter).Wait(time.Second) {
			_, err := body.Next()
			t.Errorf("the body has ended with %v", err)
		}
		x.Response.CloseBody()
	})
}
