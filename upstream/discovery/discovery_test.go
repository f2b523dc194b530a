package discovery

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// record keeps what a source tells.
type record struct {
	mu     sync.Mutex
	lists  [][]Endpoint
	faults []string
	good   int // times that the list was said to be good
}

func (r *record) send(list []Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists = append(r.lists, list)
}

func (r *record) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.good++
		return
	}
	r.faults = append(r.faults, err.Error())
}

// last is the list in force, as text, and how many there were.
func (r *record) last() (string, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lists) == 0 {
		return "none", 0
	}
	return text(r.lists[len(r.lists)-1]), len(r.lists)
}

func (r *record) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.faults)
}

func (r *record) confirmed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.good
}

// text writes a list; what is usual is left out.
func text(list []Endpoint) string {
	var words []string
	for _, e := range list {
		word := e.Address
		if e.Secure {
			word = "https://" + word
		}
		if e.Weight != 1 {
			word += fmt.Sprintf(" weight=%d", e.Weight)
		}
		if e.Zone != "" {
			word += " zone=" + e.Zone
		}
		if e.Priority != 0 {
			word += fmt.Sprintf(" priority=%d", e.Priority)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// watched watches a source until the test ends.
func watched(t *testing.T, s Source) *record {
	t.Helper()
	r := &record{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Watch(ctx, r.send, r.fault)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// eventually waits for a source that looks by the clock.
func eventually(t *testing.T, r *record, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			last, n := r.last()
			t.Fatalf("%s: it did not happen; %d lists, the last one %s; faults %q", what, n, last, r.told())
		}
	}
}

// becomes waits for a list.
func (r *record) becomes(t *testing.T, want string) {
	t.Helper()
	eventually(t, r, want, func() bool { last, _ := r.last(); return last == want })
}

// complains waits for a fault that contains some words.
func (r *record) complains(t *testing.T, words string) {
	t.Helper()
	eventually(t, r, words, func() bool {
		return slices.ContainsFunc(r.told(), func(f string) bool { return strings.Contains(f, words) })
	})
}

func plainList(addresses ...string) []Endpoint {
	list := []Endpoint{}
	for _, a := range addresses {
		list = append(list, Endpoint{Address: a, Weight: 1})
	}
	return list
}

func TestComplete(t *testing.T) {
	t.Parallel()
	many := make([]Endpoint, MaxEndpoints+1)
	for i := range many {
		many[i] = Endpoint{Address: fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255), Weight: 1}
	}
	for name, test := range map[string]struct {
		list      []Endpoint
		empty     bool
		want      string
		note, err string
	}{
		"in order":          {list: plainList("10.0.0.2:80", "10.0.0.1:80"), want: "10.0.0.1:80, 10.0.0.2:80"},
		"one form":          {list: plainList("Orders.Internal:80", "[2001:DB8:0::1]:80", "[::ffff:10.0.0.1]:80"), want: "10.0.0.1:80, [2001:db8::1]:80, orders.internal:80"},
		"nothing":           {err: "it tells no endpoint at all"},
		"nothing, accepted": {empty: true},
		"the first of two counts": {list: []Endpoint{{Address: "A:80", Weight: 3, Zone: "x"}, {Address: "b:80", Weight: 1}, {Address: "a:80", Weight: 5}, {Address: "b:80", Weight: 2}},
			want: "a:80 weight=3 zone=x, b:80", note: "a:80 is given more than once: the first counts (2 passed over in all)"},
		"too many":        {list: many, err: "it tells 10001 endpoints: the limit is 10000"},
		"no port":         {list: plainList("a:80", "10.0.0.1"), err: `endpoint 2: "10.0.0.1" is not a host and a port, such as 10.0.0.7:8080`},
		"no host":         {list: plainList(":80"), err: "endpoint 1: "},
		"port 0":          {list: plainList("a:0"), err: "endpoint 1: "},
		"large port":      {list: plainList("a:65536"), err: "endpoint 1: "},
		"a URL":           {list: plainList("http://a:80"), err: "endpoint 1: "},
		"control":         {list: plainList("a\x00b:80"), err: `"a\x00b:80" is not`},
		"long":            {list: plainList(strings.Repeat("a", 100_000)), err: "…"},
		"unspecified":     {list: plainList("0.0.0.0:80"), err: `"0.0.0.0:80" is no address of an origin`},
		"unspecified six": {list: plainList("[::]:80"), err: "is no address of an origin"},
		"multicast":       {list: plainList("224.0.0.1:80"), err: "is no address of an origin"},
		"broadcast":       {list: plainList("255.255.255.255:80"), err: "is no address of an origin"},
		"weight 0":        {list: []Endpoint{{Address: "a:80"}}, err: "a:80: the weight is 0: it must be from 1 to 1000"},
		"large weight":    {list: []Endpoint{{Address: "a:80", Weight: 1001}}, err: "the weight is 1001"},
		"priority":        {list: []Endpoint{{Address: "a:80", Weight: 1, Priority: -1}}, err: "the priority is -1: it must be from 0 to 65535"},
		"zone":            {list: []Endpoint{{Address: "a:80", Weight: 1, Zone: "a\nb"}}, err: "the zone is longer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, note, err := complete(test.list, test.empty)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || len(err.Error()) > 1000 {
					t.Fatalf("error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || text(list) != test.want {
				t.Errorf("%s, %v, want %s", text(list), err, test.want)
			}
			if got := fmt.Sprint(note); note != nil && got != test.note || note == nil && test.note != "" {
				t.Errorf("note %q, want %q", got, test.note)
			}
		})
	}
	if list, _, err := complete(many[:MaxEndpoints], false); err != nil || len(list) != MaxEndpoints {
		t.Errorf("ten thousand: %d, %v", len(list), err)
	}
}

func TestScale(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ weights, want []int }{
		{[]int{0, 0}, []int{1, 1}},
		{[]int{0, 5, 1000}, []int{1, 5, 1000}},
		{[]int{65_535, 6553, 10, 0}, []int{1000, 99, 1, 1}},
	} {
		list := make([]Endpoint, len(test.weights))
		for i, w := range test.weights {
			list[i].Weight = w
		}
		scale(list)
		for i, e := range list {
			if e.Weight != test.want[i] {
				t.Errorf("%v: entry %d is %d, want %d", test.weights, i, e.Weight, test.want[i])
			}
		}
	}
}

// script is a look that plays one round after the other.
type script struct {
	rounds []func() (round, error)
	at     []time.Duration
	began  time.Time
}

func (s *script) look(context.Context) (round, error) {
	if len(s.rounds) == 0 {
		return round{same: true, again: time.Hour}, nil
	}
	s.at = append(s.at, time.Since(s.began))
	next := s.rounds[0]
	s.rounds = s.rounds[1:]
	return next()
}

func good(note error, addresses ...string) func() (round, error) {
	return func() (round, error) {
		return round{list: plainList(addresses...), note: note, again: time.Minute}, nil
	}
}

func same() (round, error) { return round{same: true, again: time.Minute}, nil }

func bad(words string) func() (round, error) {
	return func() (round, error) { return round{}, fmt.Errorf("%s", words) }
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		twice := fmt.Errorf("twice")
		s := &script{began: time.Now(), rounds: []func() (round, error){
			bad("dead"), bad("dead"), // told once
			good(nil, "a:1"), good(nil, "a:1"), // sent once
			bad("dead"),       // told again after it was well
			same, bad("dead"), // and again
			good(twice, "b:1"), same, bad("x"), // the note is told once
			good(twice, "b:1"), good(nil, "b:1"), good(twice, "b:1"), // and again after it was gone
			good(nil), // an empty list is a list
		}}
		r := &record{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); watch(ctx, "s", s.look, r.send, r.fault) }()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		cancel()
		<-done
		var lists []string
		for _, l := range r.lists {
			lists = append(lists, text(l))
		}
		if got := strings.Join(lists, " | "); got != "a:1 | b:1 | " {
			t.Errorf("lists %s", got)
		}
		want := "discovery: s: dead | discovery: s: dead | discovery: s: dead | discovery: s: twice | discovery: s: x | discovery: s: twice"
		if got := strings.Join(r.faults, " | "); got != want {
			t.Errorf("faults %s\nwant   %s", got, want)
		}
		if r.good != 10 {
			t.Errorf("confirmed %d times, want 10", r.good)
		}
	})
}

// TestWatchBacksOff: the pauses double, have a longest one, are partly chance, and
// begin anew after a good look.
func TestWatchBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{began: time.Now()}
		for range 9 {
			s.rounds = append(s.rounds, bad("dead"))
		}
		s.rounds = append(s.rounds, good(nil, "a:1"), bad("dead"), bad("dead"))
		r := &record{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); watch(ctx, "s", s.look, r.send, r.fault) }()
		time.Sleep(20 * time.Minute)
		cancel()
		<-done
		for i, full := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30, 30, 0, 1} {
			full *= time.Second
			least, most := full/2, full
			if full == 0 {
				least, most = time.Minute, time.Minute
			}
			if got := s.at[i+1] - s.at[i]; got < least || got > most {
				t.Errorf("pause %d is %v, want %v to %v", i, got, least, most)
			}
		}
	})
}

// TestNothingIsLeft: when ctx ends, the goroutines of each source end.
func TestNothingIsLeft(t *testing.T) {
	consul := newFakeConsul()
	consul.set(1, "10.0.0.1")
	consulServer := httptest.NewServer(consul)
	groups := httptest.NewServer(staticGroups(`[{"targets": ["10.0.0.1:80"]}]`))
	names := serveDNS(t, answers{"orders.internal. A": {"orders.internal. 1 A 10.0.0.1"}})
	silent := silentDNS(t)
	file := write(t, `["10.0.0.1:80"]`)
	before := runtime.NumGoroutine()
	for _, s := range []Source{
		&DNS{Name: "orders.internal", Port: 80, Servers: []string{names.address}},
		&DNS{Name: "orders.internal", Port: 80, Servers: []string{silent}},
		&File{Path: file, Parse: parseStrings},
		&HTTP{Server: Server{URL: groups.URL}},
		&Consul{Server: Server{URL: consulServer.URL}, Service: "orders"},
	} {
		r := &record{}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); s.Watch(ctx, r.send, r.fault) }()
		if d, ok := s.(*DNS); !ok || d.Servers[0] != silent {
			eventually(t, r, s.String(), func() bool { _, n := r.last(); return n == 1 })
		}
		cancel()
		<-done
	}
	consul.close()
	consulServer.Close()
	groups.Close()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}
