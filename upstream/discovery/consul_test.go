package discovery

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeConsul answers /v1/health/service as Consul does: at once where the index is not
// its own, else when something changes or the time is over.
type fakeConsul struct {
	mu      sync.Mutex
	index   uint64
	entries []any
	garbage string
	changed chan struct{}
	closed  bool
	queries []string
	token   string
	blocked int // queries that waited
}

func newFakeConsul() *fakeConsul { return &fakeConsul{changed: make(chan struct{})} }

// set makes a state with instances at port 80, at an index of choice.
func (c *fakeConsul) set(index uint64, hosts ...string) {
	entries := []any{}
	for _, host := range hosts {
		entries = append(entries, map[string]any{
			"Node":    map[string]any{"Node": "n-" + host, "Address": host, "Meta": map[string]string{"zone": "z1", "rack": "r7"}},
			"Service": map[string]any{"ID": "orders-" + host, "Service": "orders", "Address": "", "Port": 80, "Weights": map[string]int{"Passing": 1, "Warning": 1}},
			"Checks":  []any{map[string]any{"Status": "passing"}},
		})
	}
	c.change(func() { c.index, c.entries, c.garbage = index, entries, "" })
}

func (c *fakeConsul) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *fakeConsul) close() { c.change(func() { c.closed = true }) }

func (c *fakeConsul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	index, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	c.mu.Lock()
	c.queries = append(c.queries, r.URL.String())
	c.token = r.Header.Get("X-Consul-Token")
	for over := false; index > 0 && index == c.index && !over && !c.closed; {
		c.blocked++
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-r.Context().Done():
			over = true
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	w.Header().Set("X-Consul-Index", strconv.FormatUint(c.index, 10))
	w.Header().Set("Content-Type", "application/json")
	if c.garbage != "" {
		_, _ = w.Write([]byte(c.garbage))
		return
	}
	_ = json.NewEncoder(w).Encode(c.entries)
}

func (c *fakeConsul) state() (queries []string, blocked int, token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.queries...), c.blocked, c.token
}

func TestConsul(t *testing.T) {
	t.Parallel()
	c := newFakeConsul()
	c.set(7, "10.0.0.2", "10.0.0.1")
	server := httptest.NewServer(c)
	t.Cleanup(func() { c.close(); server.Close() })
	r := watched(t, &Consul{
		Server: Server{URL: server.URL + "/"}, Service: "orders/v2", Tags: []string{"blue", "x y"}, Datacenter: "dc1",
		Token: "s3cret", Stale: true,
	})
	r.becomes(t, "10.0.0.1:80 zone=z1, 10.0.0.2:80 zone=z1")
	eventually(t, r, "a blocking query", func() bool { _, blocked, _ := c.state(); return blocked == 1 })
	queries, _, token := c.state()
	if want := "/v1/health/service/orders%2Fv2?dc=dc1&passing=true&tag=blue&tag=x+y&stale"; queries[0] != want || token != "s3cret" {
		t.Errorf("the query is %s, token %s; want %s", queries[0], token, want)
	}
	if !strings.Contains(queries[1], "index=7&") || !strings.Contains(queries[1], "&wait=") {
		t.Errorf("the blocking query is %s", queries[1])
	}

	// A change comes at once, without the time of the query being over.
	c.set(8, "10.0.0.1")
	r.becomes(t, "10.0.0.1:80 zone=z1")
	// Nothing is left: the old list stays.
	c.set(9)
	r.complains(t, "it tells no endpoint at all")
	c.set(10, "10.0.0.3")
	r.becomes(t, "10.0.0.3:80 zone=z1")
	// The server has begun anew: its index went backwards.
	c.set(2, "10.0.0.4")
	r.becomes(t, "10.0.0.4:80 zone=z1")
	c.set(3, "10.0.0.5")
	r.becomes(t, "10.0.0.5:80 zone=z1")
	c.change(func() { c.index, c.garbage = 4, `{"not": "a list"}` })
	r.complains(t, "its answer has not the expected form")
	c.set(5, "10.0.0.5", "10.0.0.5")
	r.complains(t, "10.0.0.5:80 is given more than once")
	if last, _ := r.last(); last != "10.0.0.5:80 zone=z1" {
		t.Errorf("the list is %s", last)
	}
	for _, f := range r.told() {
		if strings.Contains(f, "s3cret") {
			t.Errorf("a secret is told: %s", f)
		}
	}
}

// TestConsulAsksAgain: a query whose time is over is an answer like any other, and
// the next one begins without a hurry.
func TestConsulAsksAgain(t *testing.T) {
	t.Parallel()
	c := newFakeConsul()
	c.set(7, "10.0.0.1")
	server := httptest.NewServer(c)
	t.Cleanup(func() { c.close(); server.Close() })
	r := watched(t, &Consul{Server: Server{URL: server.URL}, Service: "orders", Wait: 10 * time.Millisecond})
	eventually(t, r, "three", func() bool { return r.confirmed() >= 3 })
	if _, n := r.last(); n != 1 {
		t.Errorf("%d lists", n)
	}
}

func TestConsulIndex(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		last uint64
		want uint64
		bad  bool
	}{
		{text: "7", want: 7}, {text: "7", last: 7, want: 7}, {text: "9", last: 7, want: 9},
		{text: "6", last: 7, want: 0}, {text: "0", want: 1}, {text: "0", last: 7, want: 0},
		{text: "", bad: true}, {text: "-1", bad: true}, {text: "x", bad: true}, {text: "18446744073709551616", bad: true},
	} {
		got, err := newIndex(test.text, test.last)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%q after %d: %d, %v", test.text, test.last, got, err)
		}
	}
}

func TestParseInstances(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`[]`: "",
		`[{"Node": {"Address": "10.0.0.1", "Meta": {"zone": "z"}}, "Service": {"Address": "10.1.0.1", "Port": 80, "Weights": {"Passing": 10}}}]`:                                 "10.1.0.1:80 weight=10 zone=z",
		`[{"Node": {"Address": "::1"}, "Service": {"Port": 80}}]`:                                                                                                                "[::1]:80",
		`[{"Node": {"Address": "a"}, "Service": {"Port": 80, "Weights": {"Passing": 65535}}}, {"Node": {"Address": "b"}, "Service": {"Port": 80, "Weights": {"Passing": 655}}}]`: "a:80 weight=1000, b:80 weight=9",
		`[{"Node": {"Address": "a"}, "Service": {"ID": "x", "Port": 0}}]`:                                                                                                        `! the instance "x" has no address or no port`,
		`[{"Node": {}, "Service": {"ID": "x", "Port": 80}}]`:                                                                                                                     `! the instance "x" has no address or no port`,
		`[{"Node": {"Address": "a"}, "Service": {"Port": 80, "Weights": {"Passing": -1}}}]`:                                                                                      `! has the weight -1`,
		`null`: "! it answered null", `[null]`: "! instance 1 is null", `[{"Node": 1}]`: "! number where an object is expected",
		`Unknown`: "! its answer is not JSON",
	} {
		list, err := parseInstances([]byte(in), "zone", false)
		if words, refused := strings.CutPrefix(want, "! "); refused {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v, want %s", in, err, words)
			}
		} else if err != nil || text(list) != want {
			t.Errorf("%s: %s, %v", in, text(list), err)
		}
	}
}

func FuzzInstances(f *testing.F) {
	f.Add([]byte(`[{"Node": {"Address": "10.0.0.1", "Meta": {"zone": "z"}}, "Service": {"Address": "10.1.0.1", "Port": 80, "Weights": {"Passing": 10}}}]`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseInstances(text, "zone", false)
		if err == nil {
			mustBeComplete(t, list)
		}
	})
}
