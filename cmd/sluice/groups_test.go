package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/upstream/spill"
)

// TestDiffOfMembers: members are known by their names, whatever their order.
func TestDiffOfMembers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, settings string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		text := "listeners: [{ name: web, address: \":8080\" }]\nroutes: [{ name: all, upstream: orders }]\nupstreams: [{ name: orders, " + settings +
			" }, { name: eu, endpoints: [http://10.0.0.1] }, { name: us, endpoints: [http://10.1.0.1] }]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const both = "members: [{ upstream: eu }, { upstream: us, priority: 1 }]"
	for _, test := range []struct {
		old, new string
		want     []string // nothing: no difference
	}{
		{both, "members: [{ upstream: us, priority: 1 }, { upstream: eu, weight: 1 }]", nil},
		{both, "members: [{ upstream: eu, capacity: { requests: 5 } }, { upstream: us, priority: 2 }]", []string{"members[eu].capacity.requests", "members[us].priority: 1 → 2"}},
		{both, both + ", failover: { ramp: 5s }", []string{"failover.ramp: 30s → 5s"}},
		{both, "endpoints: [http://10.0.0.1]", []string{"endpoints", "members[us].priority"}},
	} {
		out, _, _ := command("diff", file("old.yaml", test.old), file("new.yaml", test.new))
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s to %s: %q is missing in %s", test.old, test.new, want, out)
			}
		}
		if test.want == nil && strings.Contains(out, "members") {
			t.Errorf("%s to %s: %s", test.old, test.new, out)
		}
	}
}

func TestStateWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		view spill.View
		want string
	}{
		{spill.View{State: spill.Serving, Share: 1}, "gets its requests"},
		{spill.View{State: spill.Full, Share: 1}, "has no room; what is more goes to the next one"},
		{spill.View{State: spill.Returning, Share: 0.254}, "comes back, and gets 25% of its requests"},
		{spill.View{State: spill.Left, Reason: spill.FailureShare, Back: 4*time.Second + 32*time.Millisecond},
			"gets nothing, because too many of its answers were failures; comes back when it has been well for 4s more"},
		{spill.View{State: spill.Left, Reason: spill.Unwell, Back: time.Minute},
			"gets nothing, because too few of its endpoints are well, or its breaker is open; comes back when it has been well for 1m0s more"},
	} {
		if got := stateWords(&test.view); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
