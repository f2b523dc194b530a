package faultinjection

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"{}":                                              "no fault to inject",
		"{ seed: 5 }":                                     "no fault to inject",
		"{ delay: {} }":                                   `"time" is missing`,
		"{ delay: { time: 6m } }":                         "at most 5m",
		"{ delay: { time: 2s, to: 1s } }":                 "is empty",
		"{ delay: { time: 1s, share: 0% } }":              "at least 0.0001%",
		"{ delay: { time: 1s, share: 10 } }":              "no unit",
		"{ abort: { status: 200 } }":                      "at least 400",
		"{ abort: { status: 499 } }":                      "write reset",
		"{ abort: { grpc_status: 17 } }":                  "other than ok",
		"{ abort: { grpc_status: ok } }":                  "other than ok",
		"{ bandwidth: {} }":                               `"rate" is missing`,
		"{ bandwidth: { rate: 0B } }":                     "at least 1B",
		"{ reset: { header: { value: x } } }":             `"name" is missing`,
		"{ reset: { header: { name: 'x y' } } }":          "not the name of a field",
		"{ reset: { share: 5% }, seed: -1 }":              "at least 0",
		"{ abort: { header: { name: x, values: [a] } } }": "values",
	} {
		g, err := policytest.Build("policies:\n  - fault_injection: "+settings+"\n", Kind)
		if err == nil {
			_ = g.Close()
			t.Errorf("%s was accepted", settings)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.yaml:2:") {
			t.Errorf("%s: the error is %v, expected %q and a place", settings, err, want)
		}
	}
}

func newGateway(t testing.TB, settings string) *policytest.Gateway {
	t.Helper()
	return policytest.New(t, "policies:\n  - fault_injection: "+settings+"\n", Kind)
}

// outcomes tells what each of n requests met.
func outcomes(g *policytest.Gateway, n int) string {
	var b strings.Builder
	for range n {
		switch a := g.Serve(g.Exchange("GET", "/")); a.Status {
		case 200:
			b.WriteByte('.')
		case 0:
			b.WriteByte('r')
		default:
			b.WriteByte('a')
		}
	}
	return b.String()
}

func TestSeedDecides(t *testing.T) {
	t.Parallel()
	const settings = "{ abort: { share: 20% }, reset: { share: 5% }, seed: "
	one := outcomes(newGateway(t, settings+"7 }"), 500)
	if again := outcomes(newGateway(t, settings+"7 }"), 500); again != one {
		t.Errorf("one seed, two runs:\n%s\n%s", one, again)
	}
	if other := outcomes(newGateway(t, settings+"8 }"), 500); other == one {
		t.Error("another seed, the same run")
	}
	if free := outcomes(newGateway(t, settings+"0 }"), 500); free == outcomes(newGateway(t, settings+"0 }"), 500) {
		t.Error("two runs without a seed are the same")
	}
}

// TestShares has a fixed seed, so it says the same in each run. The bounds are four standard
// deviations.
func TestShares(t *testing.T) {
	t.Parallel()
	const n = 20_000
	g := newGateway(t, "{ abort: { share: 20% }, reset: { share: 0.5% }, seed: 3 }")
	met := outcomes(g, n)
	resets, aborts := strings.Count(met, "r"), strings.Count(met, "a")
	if resets < 60 || resets > 140 || aborts < 3754 || aborts > 4206 {
		t.Errorf("%d resets and %d aborts in %d", resets, aborts, n)
	}
	if v := g.Metrics.Value("sluice_fault_injection_injected_total,route=example,fault=reset"); v != int64(resets) {
		t.Errorf("%d resets were counted, %d happened", v, resets)
	}
	if v := g.Metrics.Value("sluice_fault_injection_injected_total,route=example,fault=abort"); v != int64(aborts) {
		t.Errorf("%d aborts were counted, %d happened", v, aborts)
	}
}

// TestFaultsAreIndependent looks at whether those that meet one fault meet another more often.
func TestFaultsAreIndependent(t *testing.T) {
	t.Parallel()
	const n, half = 20_000, uint64(1) << 63
	d := dice{seed: 11}
	var both, first, second int
	for range n {
		t := d.throw()
		a, b := t.side(sideDelay) < half, t.side(sideAbort) < half
		if a {
			first++
		}
		if b {
			second++
		}
		if a && b {
			both++
		}
	}
	if both < 4755 || both > 5245 || first < 9717 || first > 10283 || second < 9717 || second > 10283 {
		t.Errorf("%d, %d, both %d", first, second, both)
	}
}

// client is the wire of a client that can go away.
type client struct {
	message.Wire
	mu sync.Mutex
	on message.Canceler
}

func (c *client) Await(on message.Canceler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
}

func (c *client) Arrived() { c.Await(nil) }

// leave is the client's going away.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on.Cancel()
}

func TestDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, "{ delay: { time: 2s } }")
		began := time.Now()
		if a := g.Serve(g.Exchange("GET", "/")); a.Status != 200 || time.Since(began) != 2*time.Second {
			t.Errorf("%d after %s", a.Status, time.Since(began))
		}

		g = newGateway(t, "{ delay: { time: 1s, to: 3s }, seed: 5 }")
		least, most := time.Hour, time.Duration(0)
		for range 200 {
			began := time.Now()
			g.Serve(g.Exchange("GET", "/"))
			least, most = min(least, time.Since(began)), max(most, time.Since(began))
		}
		if least < time.Second || least > 1100*time.Millisecond || most < 2900*time.Millisecond || most > 3*time.Second {
			t.Errorf("delays from %s to %s", least, most)
		}
	})
}

func TestDelayEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, "{ delay: { time: 1m } }")
		c, x := &client{}, g.Exchange("GET", "/")
		x.Begin(c)
		began, answer := time.Now(), make(chan *policytest.Answer, 1)
		go func() { answer <- g.Serve(x) }()
		synctest.Wait()
		c.leave()
		if a := <-answer; a.Problem != message.ClientGone || a.Asked != nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", a.Problem, time.Since(began))
		}

		y := g.Exchange("GET", "/")
		y.Deadline = began.Add(3 * time.Second)
		if g.Serve(y); time.Since(began) != 3*time.Second || !y.Times.Waited {
			t.Errorf("a request with a deadline of 3s was held back for %s, told so: %t", time.Since(began), y.Times.Waited)
		}
	})
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		settings, protocol, media string
		status                    int
		problem                   bool
		field, body               string
	}{
		{"{ abort: { status: 500, grpc_status: aborted } }", "HTTP/2", "application/grpc+proto", 200, false, "10", ""},
		{"{ abort: { status: 500, grpc_status: aborted } }", "HTTP/2", "application/grpc-web", 200, false, "", "\x80\x00\x00\x00"},
		{"{ abort: { status: 500, grpc_status: aborted } }", "HTTP/1.1", "application/grpc-web-text", 200, false, "", "gAAAA"},
		{"{ abort: { status: 500, grpc_status: aborted } }", "HTTP/1.1", "application/grpc", 500, true, "", ""},
		{"{ abort: { status: 500, grpc_status: aborted } }", "HTTP/2", "application/json", 500, true, "", ""},
		{"{ abort: { status: 500 } }", "HTTP/2", "application/grpc", 500, true, "", ""}, // The engine tells it in gRPC's way.
	} {
		g := newGateway(t, c.settings)
		x := g.Exchange("POST", "/shop.Orders/Get", "content-type", c.media)
		x.Request.Protocol = c.protocol
		a := g.Serve(x)
		if a.Status != c.status || (a.Problem != nil) != c.problem || a.Header.Get("grpc-status") != c.field || !c.problem && !strings.HasPrefix(a.Body, c.body) {
			t.Errorf("%+v: %d, %v, %q, %q", c, a.Status, a.Problem, a.Header.Get("grpc-status"), a.Body)
		}
		if c.problem {
			continue
		}
		if got := a.Header.Get("Content-Type"); got != c.media || x.Response.Shown != 500 {
			t.Errorf("%+v: the Content-Type is %q, logs show %d", c, got, x.Response.Shown)
		}
		body := a.Body
		if strings.HasSuffix(c.media, "-text") {
			plain, err := base64.StdEncoding.DecodeString(body)
			if err != nil {
				t.Error(err)
			}
			body = string(plain)
		}
		if c.body != "" && !strings.Contains(body, "grpc-status:10\r\n") && !strings.Contains(body, "grpc-status: 10\r\n") {
			t.Errorf("%+v: the trailer is %q", c, body)
		}
	}
}

// stream is a body of some chunks, with a trailer.
type stream struct {
	chunks  []string
	trailer message.Header
	closed  int
}

func (s *stream) Next() ([]byte, error) {
	if len(s.chunks) == 0 {
		return nil, io.EOF
	}
	chunk := s.chunks[0]
	s.chunks = s.chunks[1:]
	return []byte(chunk), nil
}

func (s *stream) Length() int64            { return -1 }
func (s *stream) Trailer() *message.Header { return &s.trailer }
func (s *stream) Close() error             { s.closed++; return nil }

func TestBandwidth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate   string
		chunks []string
		takes  time.Duration
	}{
		// The last piece leaves when those before it have taken their time.
		{"1000B", []string{strings.Repeat("a", 1000), strings.Repeat("b", 1000)}, 1900 * time.Millisecond},
		{"1000B", []string{"short"}, 0},
		{"1B", []string{"slow"}, 3 * time.Second},
		{"7B", []string{"12345678"}, 7 * (time.Second / 7)},
		{"1GiB", []string{strings.Repeat("a", 100_000), "b"}, 93132},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, "{ bandwidth: { rate: "+c.rate+" } }")
			body := &stream{chunks: c.chunks}
			body.trailer.Append("x-sum", "1")
			g.Origin = func(x *message.Exchange) error {
				x.Response.Status = 200
				x.Response.Body = body
				return nil
			}
			began := time.Now()
			x := g.Exchange("GET", "/")
			a := g.Serve(x)
			if want := strings.Join(c.chunks, ""); a.Body != want || a.BodyError != nil {
				t.Errorf("%s: %d bytes came, expected %d; %v", c.rate, len(a.Body), len(want), a.BodyError)
			}
			if took := time.Since(began); took != c.takes {
				t.Errorf("%s: it took %s, expected %s", c.rate, took, c.takes)
			}
			if body.closed == 0 {
				t.Error("the origin's body was not closed")
			}
		})
	}
}

// TestPiecesAreViews takes a body to pieces and looks for bytes that are lost, or come twice.
func TestPiecesAreViews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789"), 100)
		b := slowBody{inner: message.NewBytes(want), rate: 330}
		if b.Length() != 1000 {
			t.Errorf("the length is %d", b.Length())
		}
		var got []byte
		for {
			piece, err := b.Next()
			if err == io.EOF {
				break
			}
			if len(piece) == 0 || len(piece) > 33 || cap(piece) != len(piece) {
				t.Fatalf("a piece of %d bytes, with room for %d", len(piece), cap(piece))
			}
			got = append(got, piece...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

func TestAllocations(t *testing.T) {
	for _, settings := range []string{
		"{ reset: { share: 0.0001% }, abort: { share: 0.0001% }, delay: { time: 1ms, share: 0.0001% }, seed: 1 }",
		"{ abort: { header: { name: x-fault, value: never } } }",
		"{ abort: {} }",
		"{ reset: {} }",
		"{ delay: { time: 1ms, header: { name: x-fault } }, bandwidth: { rate: 1GiB } }",
	} {
		g := newGateway(t, settings)
		policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) { g.Fill(x, "GET", "/orders", "x-team", "blue") })
	}
	g := newGateway(t, "{ abort: { grpc_status: unavailable } }")
	policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) {
		g.Fill(x, "POST", "/shop.Orders/Get", "content-type", "application/grpc")
		x.Request.Protocol = "HTTP/2"
	})
}

// FuzzGRPCStatus reads what it has written, and nothing but the sixteen.
func FuzzGRPCStatus(f *testing.F) {
	for _, seed := range []string{"1", "16", "17", "0", "unavailable", "DEADLINE_EXCEEDED", "ok", "", "01", "data_loss ", "aborted", "ſ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s GRPCStatus
		if err := s.UnmarshalText([]byte(text)); err != nil {
			if s != 0 || !strings.Contains(err.Error(), "status of gRPC") {
				t.Errorf("%d, %v", s, err)
			}
			return
		}
		if s < 1 || s > 16 {
			t.Fatalf("%q is %d", text, s)
		}
		word, _ := s.MarshalText()
		var again GRPCStatus
		if err := again.UnmarshalText(word); err != nil || again != s {
			t.Errorf("%q is %d, written as %s, which is %d: %v", text, s, word, again, err)
		}
	})
}

func BenchmarkThrow(b *testing.B) {
	g := newGateway(b, "{ abort: { share: 0.0001% }, reset: { share: 0.0001% }, seed: 1 }")
	x, hook := g.Exchange("GET", "/"), g.Hooks().OnRequest
	b.ReportAllocs()
	for b.Loop() {
		hook(x)
	}
}
