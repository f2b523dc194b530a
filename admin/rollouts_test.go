package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/internal/canary"
)

// steered notes what was done.
type steered struct {
	rollouts []Rollout
	done     []string
	err      error
}

func (s *steered) options() *Options {
	o := options()
	o.Rollouts = func() []Rollout { return s.rollouts }
	o.Steer = func(route, action string) error {
		s.done = append(s.done, route+" "+action)
		return s.err
	}
	return &o
}

func two() []Rollout {
	return []Rollout{
		{Route: "orders", From: "v1", To: "v2", Status: "running", Share: 0.1, Step: 2, Steps: []float64{0.01, 0.1, 1}, Decides: true},
		{Route: "shop.example.com/a b/**", From: "v1", To: "v3", Status: "paused", Steps: []float64{1}, Step: 1},
	}
}

// post is a change as the command sends it.
func post(path string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader("{}"))
	r.Host, r.RemoteAddr = "127.0.0.1:9901", "127.0.0.1:4711"
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestRollouts(t *testing.T) {
	t.Parallel()
	s := &steered{rollouts: two()}
	h := newHandler(s.options(), true)
	for _, test := range []struct {
		method, path string
		status       int
		words        string
	}{
		{"GET", "/rollouts", 200, `"route": "orders"`},
		{"HEAD", "/rollouts", 200, ""},
		{"POST", "/rollouts", 405, "/rollouts can only be read"},
		{"GET", "/rollouts/orders", 200, `"share": 0.1`},
		{"GET", "/rollouts/shop.example.com%2Fa%20b%2F%2A%2A", 200, `"to": "v3"`},
		{"POST", "/rollouts/orders", 405, "POST /rollouts/orders/pause"},
		{"DELETE", "/rollouts/orders", 405, ""},
		{"GET", "/rollouts/order", 404, `no route \"order\" has a rollout; did you mean \"orders\"?`},
		{"GET", "/rollouts/", 404, "there are orders, shop"},
		{"GET", "/rollouts/orders/pause", 405, "use POST"},
		{"POST", "/rollouts/orders/pose", 404, `did you mean \"pause\"?`},
		{"POST", "/rollouts/orders/pause/now", 404, ""},
		{"GET", "/nothing", 404, "/status, /rollouts"},
	} {
		w := ask(h, test.method, test.path)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.words) {
			t.Errorf("%s %s: %d %s", test.method, test.path, w.Code, w.Body)
		}
	}
	if len(s.done) > 0 {
		t.Errorf("something was done: %q", s.done)
	}
	s.rollouts = nil
	if w := ask(h, "GET", "/rollouts"); !strings.Contains(w.Body.String(), `"rollouts": []`) {
		t.Errorf("none: %s", w.Body)
	}
	if w := ask(h, "GET", "/rollouts/orders"); !strings.Contains(w.Body.String(), "; none has") {
		t.Errorf("none: %s", w.Body)
	}
}

func TestSteer(t *testing.T) {
	t.Parallel()
	s := &steered{rollouts: two()}
	h := newHandler(s.options(), true)
	send := func(r *http.Request) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, action := range canary.Actions() {
		w := send(post("/rollouts/orders/" + string(action)))
		var r Rollout
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 200 || r.Route != "orders" {
			t.Errorf("%s: %d %s", action, w.Code, w.Body)
		}
	}
	if got := strings.Join(s.done, ", "); got != "orders pause, orders resume, orders promote, orders abort, orders restart" {
		t.Errorf("done: %s", got)
	}
	s.err = &canary.Refusal{Text: "only a roll-out that is running can be paused"}
	if w := send(post("/rollouts/orders/pause")); w.Code != 409 || !strings.Contains(w.Body.String(), `"rollout_state"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.err = errors.New("no")
	if w := send(post("/rollouts/orders/pause")); w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestChangesAreRefused: what a web page can make a browser send, and what other machines
// send.
func TestChangesAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		local  bool
		change func(r *http.Request)
		status int
		code   string
	}{
		"form":             {true, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 415, "json_required"},
		"plain text":       {true, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415, "json_required"},
		"no type":          {true, func(r *http.Request) { r.Header.Del("Content-Type") }, 415, "json_required"},
		"another site":     {true, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, "cross_site"},
		"same site":        {true, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403, "cross_site"},
		"another origin":   {true, func(r *http.Request) { r.Header.Set("Origin", "https://www.example.com") }, 403, "cross_site"},
		"another port":     {true, func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:8080") }, 403, "cross_site"},
		"sandboxed":        {true, func(r *http.Request) { r.Header.Set("Origin", "null") }, 403, "cross_site"},
		"rebound":          {true, func(r *http.Request) { r.Host = "www.example.com:9901" }, 421, "host_not_allowed"},
		"rebound, open":    {false, func(r *http.Request) { r.Host = "www.example.com:9901" }, 421, "host_not_allowed"},
		"another machine":  {false, func(r *http.Request) { r.RemoteAddr = "192.0.2.7:4711" }, 403, "changes_not_allowed"},
		"nobody":           {false, func(r *http.Request) { r.RemoteAddr = "" }, 403, "changes_not_allowed"},
		"a body":           {true, func(r *http.Request) { r.Body = body(`{"force": true}`) }, 400, "bad_request"},
		"a list":           {true, func(r *http.Request) { r.Body = body(`[]`) }, 400, "bad_request"},
		"null":             {true, func(r *http.Request) { r.Body = body(`null`) }, 400, "bad_request"},
		"a large body":     {true, func(r *http.Request) { r.Body = body(strings.Repeat(" ", bodyLimit+1)) }, 413, "request_too_large"},
		"as the command":   {true, func(*http.Request) {}, 200, ""},
		"no body":          {true, func(r *http.Request) { r.Body = http.NoBody }, 200, ""},
		"with a charset":   {true, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") }, 200, ""},
		"own page":         {true, func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:9901") }, 200, ""},
		"loopback, mapped": {false, func(r *http.Request) { r.RemoteAddr = "[::ffff:127.0.0.1]:1" }, 200, ""},
		"loopback, IPv6":   {false, func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:1", "[::1]:9901" }, 200, ""},
	} {
		s := &steered{rollouts: two()}
		r := post("/rollouts/orders/abort")
		test.change(r)
		w := httptest.NewRecorder()
		newHandler(s.options(), test.local).ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.code) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, test.status, test.code)
		}
		if done := len(s.done) > 0; done != (test.status == 200) {
			t.Errorf("%s: done: %q", name, s.done)
		}
	}
}

func body(text string) *bodyOf { return &bodyOf{strings.NewReader(text)} }

type bodyOf struct{ *strings.Reader }

func (*bodyOf) Close() error { return nil }
