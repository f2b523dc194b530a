package engine

import (
	"io"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// value is a body of a type that cannot be compared.
type value struct {
	message.Body
	_ []byte
}

// TestPanics has a mistake in each place where code of others runs. The exchange
// gets a problem, everybody else hears of its end, and the next exchange is served.
func TestPanics(t *testing.T) {
	t.Parallel()
	panics := func(*message.Exchange) message.Verdict { panic("a mistake") }
	wraps := func(method string, chunks ...string) func(x *message.Exchange) message.Verdict {
		return func(x *message.Exchange) message.Verdict {
			x.Response.Wrap(func(inner message.Body) message.Body {
				return &body{inner: inner, panics: method, chunks: chunks}
			})
			return message.Next
		}
	}
	tests := map[string]struct {
		edge, request, response func(x *message.Exchange) message.Verdict
		done                    func(x *message.Exchange)
		target                  func(x *message.Exchange) error
		status                  int
		code                    string
		in                      string
		aborted                 bool
		events                  []string // of the policy before and after
	}{
		"edge": {edge: panics, status: 500, code: "policy_panic", in: "edge"},
		"request": {request: panics, status: 500, code: "policy_panic", in: "bad",
			events: []string{"a request", "a response 500", "a done"}},
		"response": {response: panics, status: 500, code: "policy_panic", in: "bad",
			events: []string{"a request", "c request", "c response 200", "a response 500", "c done", "a done"}},
		"done": {done: func(*message.Exchange) { panic("a mistake") }, status: 200, in: "bad",
			events: []string{"a request", "c request", "c response 200", "a response 200", "c done", "a done"}},
		"target": {target: func(x *message.Exchange) error { x.Response.Header.Append("ETag", "1"); panic("a mistake") }, status: 500, code: "target_panic", in: "target",
			events: []string{"a request", "c request", "c response 500", "a response 500", "c done", "a done"}},
		"target and response": {target: func(*message.Exchange) error { panic("a mistake") }, response: panics, status: 500, code: "policy_panic", in: "bad",
			events: []string{"a request", "c request", "c response 500", "a response 500", "c done", "a done"}},
		"target's body": {target: func(x *message.Exchange) error {
			x.Response.Status = 200
			x.Response.Body = &body{panics: "Next"}
			return nil
		}, status: 500, code: "target_panic", in: "target",
			events: []string{"a request", "c request", "c response 200", "a response 200", "c done", "a done"}},
		"body at once": {response: wraps("Next"), status: 500, code: "policy_panic", in: "bad",
			events: []string{"a request", "c request", "c response 200", "a response 200", "c done", "a done"}},
		"body in the middle": {response: wraps("", "he", "panic"), status: 200, code: "", in: "bad", aborted: true,
			events: []string{"a request", "c request", "c response 200", "a response 200", "c done", "a done"}},
		"body at its close": {response: wraps("Close"), status: 200, code: "", in: "bad", aborted: true,
			events: []string{"a request", "c request", "c response 200", "a response 200", "c done", "a done"}},
		"nil": {request: func(*message.Exchange) message.Verdict { var x *message.Exchange; return x.Deny(nil) }, status: 500, code: "policy_panic", in: "bad",
			events: []string{"a request", "a response 500", "a done"}},
		"after another panic": {request: panics, done: func(*message.Exchange) { panic("another") }, status: 500, code: "policy_panic", in: "bad",
			events: []string{"a request", "a response 500", "a done"}},
		"uncomparable body": {response: func(x *message.Exchange) message.Verdict {
			x.Response.Body = value{Body: x.Response.Body}
			return message.Next
		}, target: func(x *message.Exchange) error {
			_ = hello(x)
			x.Response.Body = value{Body: x.Response.Body}
			return nil
		}, status: 200, events: []string{"a request", "c request", "c response 200", "a response 200", "c done", "a done"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, e := newRig(t), &events{}
			edge := r.step("edge", policy.Hooks{OnRequest: test.edge})
			bad := r.step("bad", policy.Hooks{OnRequest: test.request, OnResponse: test.response, OnDone: test.done})
			first := &body{chunks: []string{"hello"}}
			if test.target == nil {
				test.target = func(x *message.Exchange) error {
					x.Response.Status = 200
					x.Response.SetStream(first)
					return nil
				}
			}
			r.Swap(r.snapshot([]Step{edge}, on{path: "/", steps: []Step{r.noting(e, "a", nil, nil), bad, r.noting(e, "c", nil, nil)}, target: test.target}))
			for range 2 {
				w, x := r.get("/")
				if w.status != test.status || w.aborted != test.aborted {
					t.Errorf("%d, aborted %t", w.status, w.aborted)
				}
				if test.code != "" && (problemOf(t, w.body) != test.code || w.header.Has("ETag")) {
					t.Errorf("%s %v", w.body, w.header.Fields())
				}
				if test.done != nil && test.code == "" && x.Problem() != nil {
					t.Errorf("an exchange that was answered has the problem %v", x.Problem())
				}
				e.want(t, test.events...)
			}
			if strings.HasPrefix(test.in, "bad") && !strings.Contains(r.metrics(), `sluice_policy_verdicts_total{policy="bad",verdict="panic"} `) {
				t.Error("the panic is not counted")
			}
			log := r.log.String()
			if test.in != "" && (!strings.Contains(log, `"msg":"panic","in":"`+test.in+`"`) || !strings.Contains(log, "panic_test.go")) {
				t.Errorf("the log is %s", log)
			}
			if strings.HasPrefix(name, "body") && first.closed == 0 {
				t.Error("the body behind the one that panicked is not closed")
			}
		})
	}
}

// TestRequestBodyPanics is a policy that wraps the request's body and makes a
// mistake: a target reads that body on a goroutine of its own.
func TestRequestBodyPanics(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Next", "Ready", "Trailer"} {
		r := newRig(t)
		bad := r.step("bad", policy.Hooks{OnRequest: func(x *message.Exchange) message.Verdict {
			x.Request.Wrap(func(inner message.Body) message.Body {
				return &upload{body{inner: inner, chunks: []string{"x"}}, method}
			})
			return message.Next
		}})
		good := r.step("good", policy.Hooks{OnRequest: func(*message.Exchange) message.Verdict { return message.Next }})
		r.Swap(r.snapshot(nil, on{path: "/", steps: []Step{bad, good}, target: func(x *message.Exchange) error {
			result := make(chan error)
			go func() { // As the wire does.
				if x.Request.Body.(message.Ready).Ready() {
					for {
						if _, err := x.Request.Body.Next(); err == io.EOF {
							break
						} else if err != nil {
							result <- err
							return
						}
					}
				}
				_ = x.Request.Body.Trailer()
				result <- nil
			}()
			if err := <-result; err != nil {
				return err
			}
			return hello(x)
		}}))
		w := &wire{}
		x := r.exchange(w, "POST", "/")
		x.Request.Body = &body{chunks: []string{"hello"}}
		r.Serve(x)
		if method != "Trailer" && (w.status != 500 || problemOf(t, w.body) != "policy_panic") || method == "Trailer" && w.status != 200 {
			t.Errorf("%s: %d %s", method, w.status, w.body)
		}
		if bad.Metrics.Panics.Value() != 1 || good.Metrics.Panics.Value() != 0 || !strings.Contains(r.log.String(), `"in":"bad"`) {
			t.Errorf("%s: %d panics counted, the log is %s", method, bad.Metrics.Panics.Value(), r.log)
		}
	}
}

// upload is a request body that panics in one of its methods.
type upload struct {
	body
	method string
}

func (u *upload) Next() ([]byte, error) {
	if u.method == "Next" {
		panic("a mistake")
	}
	return u.body.Next()
}

func (u *upload) Ready() bool {
	if u.method == "Ready" {
		panic("a mistake")
	}
	return true
}

func (u *upload) Trailer() *message.Header {
	if u.method == "Trailer" {
		panic("a mistake")
	}
	return nil
}

// TestBodyInMemoryIsNotGuarded: it can be sent again, which a guard would hide.
func TestBodyInMemoryIsNotGuarded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reads := r.step("reads", policy.Hooks{OnRequest: func(x *message.Exchange) message.Verdict {
		if _, err := x.Request.ReadBody(100); err != nil {
			t.Error(err)
		}
		return message.Next
	}})
	r.Swap(r.snapshot(nil, on{path: "/", steps: []Step{reads}, target: func(x *message.Exchange) error {
		if !x.Request.Rewind() {
			t.Errorf("the body is a %T", x.Request.Body)
		}
		return hello(x)
	}}))
	x := r.exchange(&wire{}, "POST", "/")
	x.Request.Body = &body{chunks: []string{"hello"}}
	r.Serve(x)
}

// TestEngineMistake is a mistake of ours: the snapshot is let go of all the same.
func TestEngineMistake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.snapshot(nil, on{path: "/", target: hello})
	s.Routes[0].Metrics = nil // Counting fails.
	r.Swap(s)
	w, _ := r.get("/")
	if w.status != 200 || !w.aborted || !strings.Contains(r.log.String(), `"in":"engine"`) {
		t.Errorf("%d, aborted %t: %s", w.status, w.aborted, r.log)
	}
}
