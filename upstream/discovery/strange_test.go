package discovery

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// teller is a source and how to make it tell something.
type teller struct {
	source  Source
	tell    func(addresses ...string)
	garbage func()
	refusal string // of garbage
	many    int    // the longest list that it can tell
	tooMany string // the refusal of one more; "" where one more cannot be told
	zone    string // that it gives everybody
}

// tellers are all sources.
func tellers(t *testing.T) map[string]*teller {
	all := map[string]*teller{}

	path := filepath.Join(t.TempDir(), "endpoints.json")
	put := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	all["file"] = &teller{
		source: &File{Path: path, Parse: parseStrings},
		tell: func(addresses ...string) {
			text, _ := json.Marshal(append([]string{}, addresses...))
			put(string(text))
		},
		garbage: func() { put(`["10.0.0.1:80", "0.0.0.0:80"]`) }, refusal: "is no address of an origin",
		many: MaxEndpoints, tooMany: "it tells 10001 endpoints: the limit is 10000",
	}

	groups := &groupServer{status: 200}
	web := httptest.NewServer(groups)
	t.Cleanup(web.Close)
	all["http"] = &teller{
		source: &HTTP{Server: Server{URL: web.URL}, Every: 5 * time.Millisecond},
		tell: func(addresses ...string) {
			text, _ := json.Marshal([]map[string][]string{{"targets": append([]string{}, addresses...)}})
			groups.set(200, string(text))
		},
		garbage: func() { groups.set(200, "<html>") }, refusal: "its answer is not JSON",
		many: MaxEndpoints, tooMany: "it tells 10001 endpoints: the limit is 10000",
	}

	consul, index := newFakeConsul(), uint64(0)
	agent := httptest.NewServer(consul)
	t.Cleanup(func() { consul.close(); agent.Close() })
	all["consul"] = &teller{
		source: &Consul{Server: Server{URL: agent.URL}, Service: "orders"},
		tell: func(addresses ...string) {
			hosts := make([]string, len(addresses))
			for i, a := range addresses {
				hosts[i] = strings.TrimSuffix(a, ":80")
			}
			index++
			consul.set(index, hosts...)
		},
		garbage: func() { index++; consul.change(func() { consul.index, consul.garbage = index, `{"not": "a list"}` }) }, refusal: "its answer has not the expected form",
		many: MaxEndpoints, tooMany: "it tells 10001 endpoints: the limit is 10000", zone: " zone=z1",
	}

	names := serveDNS(t, answers{})
	names.late = true // What is long comes over TCP.
	say := func(key string, lines ...string) {
		names.set(func() { names.answers[key] = append([]string{soa}, lines...) })
	}
	all["dns"] = &teller{
		source: &DNS{Name: "a.internal.", Port: 80, Servers: []string{names.address}, MinTTL: 5 * time.Millisecond, MaxTTL: 6 * time.Millisecond, Family: IPv4},
		tell: func(addresses ...string) {
			var lines []string
			for _, a := range addresses {
				lines = append(lines, "a.internal. 0 A "+strings.TrimSuffix(a, ":80"))
			}
			say("a.internal. A", lines...)
		},
		garbage: func() { say("a.internal. A", "a.internal. 0 A 0.0.0.0") }, refusal: "is no address of an origin",
		many: 2500, // With their names. An answer has 64 KiB at most.
	}
	all["srv"] = &teller{
		source: &DNS{Name: "s.internal.", SRV: true, Servers: []string{names.address}, MinTTL: 5 * time.Millisecond, MaxTTL: 6 * time.Millisecond, Family: IPv4},
		tell: func(addresses ...string) {
			var lines []string
			for i, a := range addresses {
				host := fmt.Sprintf("h%d.internal.", i)
				lines = append(lines, "s.internal. 0 SRV 0 1 80 "+host)
				say(host+" A", host+" 0 A "+strings.TrimSuffix(a, ":80"))
			}
			say("s.internal. SRV", lines...)
		},
		garbage: func() { say("s.internal. SRV", "s.internal. 0 SRV 0 1 0 h0.internal.") }, refusal: "is not a host and a port",
		many: maxTargets, tooMany: "it names more than 1000 targets",
	}
	return all
}

// TestStrangeLists: nothing, garbage, what is given twice and very many are the same for each source:
// refused as a whole or taken as a whole, told once, and the list before stays.
func TestStrangeLists(t *testing.T) {
	t.Parallel()
	for name, s := range tellers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const a, b, c = "10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"
			s.tell(a)
			r := watched(t, s.source)
			r.becomes(t, a+s.zone)
			refused := func(words, last string) {
				t.Helper()
				r.complains(t, words)
				if got, _ := r.last(); got != last {
					t.Errorf("%s: the list has become %.100s", words, got)
				}
			}
			s.tell()
			refused("it tells no endpoint at all", a+s.zone)
			s.tell(b)
			r.becomes(t, b+s.zone)
			s.garbage()
			refused(s.refusal, b+s.zone)
			s.tell(c, a, a, c, c)
			r.becomes(t, a+s.zone+", "+c+s.zone)
			r.complains(t, " is given more than once: the first counts (3 passed over in all)")

			many := make([]string, s.many+1)
			for i := range many {
				many[i] = fmt.Sprintf("10.0.%d.%d:80", i/250, i%250)
			}
			s.tell(many[:s.many]...)
			eventually(t, r, "very many", func() bool {
				last, _ := r.last()
				return strings.Count(last, ",") == s.many-1
			})
			if s.tooMany != "" {
				_, n := r.last()
				s.tell(many...)
				r.complains(t, s.tooMany)
				if _, now := r.last(); now != n {
					t.Errorf("a list that is too long is taken")
				}
			}
			told := map[string]int{}
			for _, f := range r.told() {
				if told[f]++; told[f] > 1 {
					t.Errorf("told again: %s", f)
				}
			}
			s.tell(b)
			r.becomes(t, b+s.zone)
		})
	}
}
