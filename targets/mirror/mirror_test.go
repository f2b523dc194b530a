package mirror

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/internal/leaktest"
	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, "targets/mirror")) }

// origin is an upstream that does what a test says.
type origin struct {
	name  string
	serve func(x *message.Exchange) error
}

func (o *origin) Name() string { return o.name }

func (o *origin) RoundTrip(x *message.Exchange, _ *message.Request, _ *message.Response) error {
	return o.serve(x)
}

// seen is what came to an origin.
type seen struct {
	line, body string
	fields     []message.Field
	wait       time.Duration // that the exchange has
}

// tells makes an origin that says what it has seen, and answers.
func tells(to chan<- seen, status int, text string) func(x *message.Exchange) error {
	return func(x *message.Exchange) error {
		r := &x.Request
		s := seen{line: r.Method + " " + r.Authority + r.Target(), fields: slices.Clone(r.Header.Fields()), wait: time.Until(x.Deadline)}
		data, err := message.ReadAll(r.Body, 1<<20)
		if err != nil {
			return err
		}
		s.body = string(data)
		x.Response.Status = status
		if text != "" {
			x.Response.SetBody([]byte(text))
		}
		if to != nil {
			to <- s
		}
		return nil
	}
}

// counters are the metrics of a test.
type counts struct {
	mu  sync.Mutex
	all map[string]*meter.Counter
}

func (c *counts) Counter(name, _ string, labels ...target.Label) *meter.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	name = strings.TrimSuffix(strings.TrimPrefix(name, "sluice_mirror_"), "_total") + " " + labels[2].Value
	if c.all[name] == nil {
		c.all[name] = new(meter.Counter)
	}
	return c.all[name]
}

// text is what was counted, in order.
func (c *counts) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var words []string
	for name, counter := range c.all {
		if n := counter.Value(); n == 1 {
			words = append(words, name)
		} else if n > 1 {
			words = append(words, name+" "+string('0'+rune(n)))
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func envOf(metrics *counts, log io.Writer, origins ...*origin) *target.Env {
	e := &target.Env{Route: "r", Logger: slog.New(slog.NewTextHandler(log, nil)), Metrics: metrics}
	e.Upstream = func(name string) (target.RoundTripper, error) {
		for _, o := range origins {
			if o.name == name {
				return o, nil
			}
		}
		return nil, errors.New("there is no upstream " + name)
	}
	e.Build = func(n *target.Nested) (target.Handler, error) {
		var name string
		node := n.Kinds[0].Value.(*config.Node)
		if err := node.Decode(&name); err != nil {
			return target.Handler{}, err
		}
		o, err := e.Upstream(name)
		if err != nil {
			return target.Handler{}, node.Locate(err)
		}
		return target.Handler{Serve: func(x *message.Exchange) error {
			return o.RoundTrip(x, &x.Request, &x.Response)
		}, Upstreams: []string{name}}, nil
	}
	return e
}

// rig is a mirror of a and its log.
type rig struct {
	*mirror
	counts
	log bytes.Buffer // complete behind end
	t   testing.TB
}

// newRig makes a mirror from the settings beside upstream and to.
func newRig(t testing.TB, more string, a, b func(x *message.Exchange) error) *rig {
	t.Helper()
	r := &rig{counts: counts{all: map[string]*meter.Counter{}}, t: t}
	node, err := config.ParseNode("m.yaml", []byte("{ upstream: a, to: b"+more+" }"))
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	if err := node.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if r.mirror, err = newMirror(&c, envOf(&r.counts, &r.log, &origin{"a", a}, &origin{"b", b})); err != nil {
		t.Fatal(err)
	}
	return r
}

// end waits until no copy is under way, and closes.
func (r *rig) end() {
	r.t.Helper()
	r.mirror.done.Wait()
	r.breakOff()
}

func (r *rig) breakOff() {
	r.t.Helper()
	if err := r.close(); err != nil {
		r.t.Error(err)
	}
}

func arrived(method string, body message.Body) *message.Exchange {
	x := &message.Exchange{}
	x.Response.Reset()
	x.Times.Started = time.Now()
	x.Request.Method, x.Request.Scheme, x.Request.Authority, x.Request.Path = method, "http", "api.example.com", "/a"
	x.Request.Query, x.Request.HasQuery = "b=c", true
	x.Request.Header.Set("Accept", "text/plain")
	x.Request.Body = body
	return x
}

// pieces is a body that can be read once.
type pieces struct {
	list   []string
	length int64
	err    error // at the end
	closed bool
}

func (p *pieces) Next() ([]byte, error) {
	if len(p.list) == 0 {
		return nil, p.err
	}
	chunk := []byte(p.list[0])
	p.list = p.list[1:]
	return chunk, nil
}
func (p *pieces) Length() int64            { return p.length }
func (p *pieces) Trailer() *message.Header { return nil }
func (p *pieces) Close() error             { p.closed = true; return nil }
func (p *pieces) Ready() bool              { return true }

// present is a body of unknown length all of which is there, as the message of a call is.
type present struct{ pieces }

func (p *present) Complete() int64 { return int64(len(strings.Join(p.list, ""))) }

// A target that keeps what is there of a request, to send it again, reads it as a whole and
// does not ask for its end.
func TestCopyOfWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]message.Body{
		"one piece":  &present{pieces{[]string{"hello"}, -1, io.EOF, false}},
		"two pieces": &present{pieces{[]string{"he", "llo"}, -1, io.EOF, false}},
		"nothing":    &present{pieces{nil, -1, io.EOF, false}},
	} {
		want := strings.Join(body.(*present).list, "")
		copies := make(chan seen, 1)
		r := newRig(t, "", func(x *message.Exchange) error {
			if err := x.Request.HoldComplete(10); err != nil {
				return err
			}
			if !x.Request.Rewind() {
				t.Errorf("%s: it cannot be sent again", name)
			}
			x.Response.Status = 200
			return nil
		}, tells(copies, 200, "b"))
		if err := r.serve(arrived("POST", body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r.end()
		if text := r.text(); text != "requests answered" {
			t.Errorf("%s: counted %s", name, text)
		} else if got := <-copies; got.body != want {
			t.Errorf("%s: the copy has %q", name, got.body)
		}
	}
}

func TestCopy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		body   func() message.Body
		want   string
	}{
		"no body":        {"GET", func() message.Body { return nil }, ""},
		"in memory":      {"POST", func() message.Body { return message.NewBytes([]byte("hello")) }, "hello"},
		"with a length":  {"PUT", func() message.Body { return &pieces{[]string{"he", "llo"}, 5, errors.New("nobody asks"), false} }, "hello"},
		"without length": {"PUT", func() message.Body { return &pieces{[]string{"he", "llo"}, -1, io.EOF, false} }, "hello"},
	} {
		clients, copies := make(chan seen, 1), make(chan seen, 1)
		a := tells(clients, 200, "a")
		if name == "with a length" {
			a = func(x *message.Exchange) error { // It takes what it needs.
				for range 2 {
					if _, err := x.Request.Body.Next(); err != nil {
						return err
					}
				}
				x.Response.Status = 200
				x.Response.SetBody([]byte("a"))
				return nil
			}
		}
		r := newRig(t, ", header: X-Mirrored, timeout: 3s", a, tells(copies, 500, "b"))
		x := arrived(test.method, test.body())
		if err := r.serve(x); err != nil || x.Response.Status != 200 {
			t.Errorf("%s: %v, status %d", name, err, x.Response.Status)
		}
		if data, _ := message.ReadAll(x.Response.Body, 10); string(data) != "a" {
			t.Errorf("%s: the client gets %q", name, data)
		}
		x.Request.Header.Set("Accept", "of the next exchange")
		got := <-copies
		if got.line != test.method+" api.example.com/a?b=c" || got.body != test.want || got.wait > 3*time.Second || got.wait < time.Second {
			t.Errorf("%s: the copy is %+v", name, got)
		}
		if want := []message.Field{{Name: "Accept", Value: "text/plain"}, {Name: "X-Mirrored", Value: "1"}}; !slices.Equal(got.fields, want) {
			t.Errorf("%s: the copy has the fields %v", name, got.fields)
		}
		if x.Request.Header.Has("X-Mirrored") {
			t.Errorf("%s: the request has the field of the copy", name)
		}
		r.end()
		if text := r.text(); text != "requests answered" {
			t.Errorf("%s: counted %s", name, text)
		}
	}
}

func TestNotCopied(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		more   string
		body   message.Body
		change func(x *message.Exchange)
		counts string
	}{
		"too long, as it says":  {", body: 4B", &pieces{[]string{"hello"}, 5, io.EOF, false}, nil, "requests too_large"},
		"too long, in memory":   {", body: 4B", message.NewBytes([]byte("hello")), nil, "requests too_large"},
		"too long, as it shows": {", body: 4B", &pieces{[]string{"he", "llo"}, -1, io.EOF, false}, nil, "requests too_large"},
		"breaks off":            {"", &pieces{[]string{"he"}, -1, errors.New("cut"), false}, nil, "requests incomplete"},
		"upgrade":               {"", nil, func(x *message.Exchange) { x.Request.Upgrade = "websocket" }, ""},
	} {
		r := newRig(t, test.more, tells(nil, 200, ""), func(*message.Exchange) error {
			t.Errorf("%s: copied", name)
			return nil
		})
		x := arrived("POST", test.body)
		if test.change != nil {
			test.change(x)
		}
		err := r.serve(x)
		if broken := name == "breaks off"; (err != nil) != broken {
			t.Errorf("%s: %v", name, err)
		}
		r.end()
		if text := r.text(); text != test.counts {
			t.Errorf("%s: counted %q, want %q", name, text, test.counts)
		}
	}
}

// The answer comes before the whole request: there is nothing to copy then, even if the rest
// comes later.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, "", func(x *message.Exchange) error {
		_, err := x.Request.Body.Next()
		x.Response.Status = 413
		return err
	}, func(*message.Exchange) error { t.Error("copied"); return nil })
	x := arrived("PUT", &pieces{[]string{"he", "llo"}, 5, io.EOF, false})
	if err := r.serve(x); err != nil {
		t.Error(err)
	}
	if data, err := message.ReadAll(x.Request.Body, 10); string(data) != "llo" || err != nil {
		t.Errorf("the rest is %q, %v", data, err)
	}
	r.end()
	if text := r.text(); text != "requests incomplete" {
		t.Errorf("counted %s", text)
	}
}

// cancelFunc is what somebody who waits is told by.
type cancelFunc func()

func (f cancelFunc) Cancel() { f() }

// stalls makes an origin that answers when it is told to end.
func stalls(began chan<- struct{}) func(x *message.Exchange) error {
	return func(x *message.Exchange) error {
		end := make(chan struct{})
		var once sync.Once
		x.Wire().Await(cancelFunc(func() { once.Do(func() { close(end) }) }))
		began <- struct{}{}
		<-end
		return message.ClientGone
	}
}

// A second upstream that never answers costs clients nothing: beyond the limit requests are not
// copied. What is under way ends with the target.
func TestStalled(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 2)
	r := newRig(t, ", concurrency: 2", tells(nil, 200, "a"), stalls(began))
	for range 5 {
		x := arrived("GET", nil)
		if err := r.serve(x); err != nil || x.Response.Status != 200 {
			t.Errorf("%v, status %d", err, x.Response.Status)
		}
	}
	<-began
	<-began
	if text := r.text(); text != "requests dropped 3" {
		t.Errorf("counted %s", text)
	}
	r.breakOff()
	if text := r.text(); text != "requests dropped 3, requests failed 2" {
		t.Errorf("counted %s", text)
	}
}

// A place is free again when a copy has ended, however.
func TestPlacesAreGivenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, ", concurrency: 1", tells(nil, 200, ""), func(x *message.Exchange) error {
		switch x.Request.Method {
		case "PANIC":
			panic("a mistake")
		case "FAIL":
			return message.UpstreamConnect
		}
		x.Response.Status = 200
		if x.Request.Method == "CUT" {
			x.Response.SetStream(&pieces{[]string{"he"}, 5, message.UpstreamBodyBroken, false})
		}
		return nil
	})
	for _, method := range []string{"GET", "PANIC", "FAIL", "CUT", "GET"} {
		if err := r.serve(arrived(method, nil)); err != nil {
			t.Error(err)
		}
		r.mirror.done.Wait()
	}
	if err := r.serve(arrived("PUT", &pieces{[]string{"he"}, 5, io.EOF, false})); err != nil {
		t.Error(err) // What ends too early is the wire's to find out.
	}
	r.end()
	if text := r.text(); text != "requests answered 3, requests failed 3" || r.under.Load() != 0 {
		t.Errorf("counted %s, %d places are taken", text, r.under.Load())
	}
	if !strings.Contains(r.log.String(), `msg=panic in=mirror route=r reason="a mistake"`) {
		t.Errorf("logged %s", r.log.String())
	}
}

// The target's failure is the client's, and its panic the engine's; the copy goes on.
func TestFailureOfTheTarget(t *testing.T) {
	t.Parallel()
	copies := make(chan seen, 3)
	r := newRig(t, ", compare: {}", func(x *message.Exchange) error {
		if x.Request.Method == "PANIC" {
			panic("a mistake")
		}
		return message.UpstreamConnect
	}, tells(copies, 200, ""))
	if err := r.serve(arrived("GET", nil)); err != message.UpstreamConnect {
		t.Error(err)
	}
	<-copies
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_ = r.serve(arrived("PANIC", &pieces{[]string{"x"}, 1, io.EOF, false}))
	}()
	r.end()
	if text := r.text(); text != "comparisons not_compared, requests answered, requests incomplete" {
		t.Errorf("counted %s", text)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	copies := make(chan seen, 1000)
	r := newRig(t, ", share: 50%, concurrency: 1000, key: '{request.header.x-user}'", tells(nil, 200, ""), tells(copies, 200, ""))
	per := map[string]int{}
	for range 20 {
		for _, user := range []string{"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jon"} {
			x := arrived("GET", nil)
			x.Request.Header.Set("X-User", user)
			if err := r.serve(x); err != nil {
				t.Error(err)
			}
		}
	}
	r.end()
	close(copies)
	for s := range copies {
		for _, f := range s.fields {
			if f.Name == "X-User" {
				per[f.Value]++
			}
		}
	}
	for user, n := range per {
		if n != 20 {
			t.Errorf("%d of 20 requests of %s were copied", n, user)
		}
	}
	if len(per) == 0 || len(per) == 10 {
		t.Errorf("%d of 10 users were chosen", len(per))
	}
}

func TestAllocations(t *testing.T) {
	r := newRig(t, ", share: 0.0001%", func(x *message.Exchange) error {
		x.Response.Status = 200
		return nil
	}, tells(nil, 200, ""))
	defer r.end()
	x := arrived("GET", nil)
	if n := testing.AllocsPerRun(100, func() { _ = r.serve(x) }); n >= 1 { // One in a million is copied.
		t.Errorf("%v allocations", n)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"a", "m.yaml:1:1: this must be a mapping"},
		{"{ to: b }", "m.yaml:1:1: a target is missing here"},
		{"{ upstream: a }", `m.yaml:1:1: "to" is missing here`},
		{"{ upstream: a, to: c }", "m.yaml:1:20: there is no upstream c"},
		{"{ upstream: c, to: b }", "m.yaml:1:13: there is no upstream c"},
		{"{ upstream: a, to: a }", "m.yaml:1:20: a is where the requests go"},
		{"{ upstream: a, to: { upstream: b } }", "m.yaml:1:20: this must be a text"},
		{"{ upstream: a, to: b, share: 0% }", "m.yaml:1:30: this must be at least 0.0001%"},
		{"{ upstream: a, to: b, share: 101% }", "m.yaml:1:30: "},
		{"{ upstream: a, to: b, share: 10 }", `m.yaml:1:30: "10" has no unit`},
		{"{ upstream: a, to: b, key: same }", "m.yaml:1:28: "},
		{"{ upstream: a, to: b, key: '{nothing}' }", "m.yaml:1:28: "},
		{"{ upstream: a, to: b, concurrency: 0 }", "m.yaml:1:36: this must be at least 1"},
		{"{ upstream: a, to: b, timeout: 0s }", "m.yaml:1:32: this must be at least 1ms"},
		{"{ upstream: a, to: b, body: 1GiB }", "m.yaml:1:29: this must be at most 16MiB"},
		{"{ upstream: a, to: b, header: connection }", "m.yaml:1:31: connection cannot be set here"},
		{"{ upstream: a, to: b, compare: { headers: ['a b'] } }", `m.yaml:1:44: "a b" is not the name of a header field`},
		{"{ upstream: a, to: b, compare: { ignore_paths: ['a', 'b..c'] } }", `m.yaml:1:54: "b..c" is no path`},
		{"{ upstream: a, to: b, compare: { log: -1 } }", "m.yaml:1:39: this must be at least 0"},
		{"{ upstream: a, to: b, compare: { staus: 1 } }", `m.yaml:1:34: unknown key "staus"`},
	} {
		node, err := config.ParseNode("m.yaml", []byte(test.text))
		if err == nil {
			_, err = Kind.Build(node, envOf(&counts{all: map[string]*meter.Counter{}}, io.Discard, &origin{name: "a"}, &origin{name: "b"}))
			err = node.Locate(err)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s\n got %v\nwant %s", test.text, err, test.want)
		}
	}
}
