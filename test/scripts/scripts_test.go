package scripts

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// most is how many scripts are played at once, however few cores there are: they
// mostly wait.
const most = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", most); err != nil {
			panic(err)
		}
	}
	os.Exit(rig.Main(m))
}

// TestScripts plays every script in this folder and the ones below it, over every
// wire that it speaks.
func TestScripts(t *testing.T) {
	t.Parallel()
	paths, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("there are no scripts")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.ToSlash(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range s.Variants() {
				t.Run(v.String(), func(t *testing.T) {
					t.Parallel()
					if err := Play(s, v, t.TempDir(), t.Logf); err != nil {
						t.Errorf("%s\n%v", s.Title, err)
					}
				})
			}
		})
	}
}

// Two scripts with one title are one behaviour told twice.
func TestTitlesAreUnique(t *testing.T) {
	t.Parallel()
	paths, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, path := range paths {
		s, err := Read(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if other, ok := seen[s.Title]; ok {
			t.Errorf("%s and %s have the same title", path, other)
		}
		seen[s.Title] = path
	}
}

func TestGuards(t *testing.T) {
	t.Parallel()
	over := func(client, origin int) Variant { return Variant{rig.Wires[client], rig.Origins[origin]} }
	for _, c := range []struct {
		line    string
		variant Variant
		want    bool
		rest    string
	}{
		{"client is closed", over(0, 0), true, "client is closed"},
		{"[http1] x", over(0, 0), true, "x"},
		{"[http1] x", over(1, 0), true, "x"},
		{"[http1] x", over(2, 0), false, "x"},
		{"[h1] x", over(1, 0), false, "x"},
		{"[tls] x", over(2, 0), true, "x"},
		{"[tls] x", over(3, 0), false, "x"},
		{"[!http1] x", over(3, 0), true, "x"},
		{"[h2 h2c] x", over(3, 0), true, "x"},
		{"[to-http1] x", over(2, 0), true, "x"},
		{"[to-h2c] x", over(2, 0), false, "x"},
		{"[!to-http1] x", over(0, 1), true, "x"},
		{"[1, 2] x", over(0, 0), true, "[1, 2] x"},
		{"[other] x", over(0, 0), true, "[other] x"},
	} {
		only, rest := guard(c.line)
		if got := c.variant.counts(only); got != c.want || rest != c.rest {
			t.Errorf("%s over %s: %v %q, want %v %q", c.line, c.variant, got, rest, c.want, c.rest)
		}
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	document := `listeners:
  - name: web
    address: "$WEB" # here
  - { name: two, address: "$WEB2", limits: { connections: 2 } }
upstreams:
  - { name: a, endpoints: ["http://$ORIGIN"] }
  - name: b
    endpoints: ["http://$ORIGIN1", "http://$ORIGIN2"]
    retry: { attempts: 1 }
`
	if got := (Variant{rig.Wires[0], rig.Origins[0]}).render(document); got != document {
		t.Errorf("h1 changed the document:\n%s", got)
	}
	want := `listeners:
  - name: web
    address: "$WEB" # here
    tls: { self_signed: true }
  - { name: two, address: "$WEB2", tls: { self_signed: true }, limits: { connections: 2 } }
upstreams:
  - { name: a, endpoints: ["http://$ORIGIN"], protocol: h2 }
  - name: b
    endpoints: ["http://$ORIGIN1", "http://$ORIGIN2"]
    protocol: h2
    retry: { attempts: 1 }
`
	if got := (Variant{rig.Wires[2], rig.Origins[1]}).render(document); got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestWiresNeedAReason(t *testing.T) {
	t.Parallel()
	if _, err := chosen("T\nwires: h1\n", "wires", rig.Wires); err == nil {
		t.Error("no reason, and it was taken")
	}
	if _, err := chosen("T\nwires: h9 # new\n", "wires", rig.Wires); err == nil {
		t.Error("nobody speaks h9, and it was taken")
	}
	some, err := chosen("T\nwires: http1 # bytes\n", "wires", rig.Wires)
	if err != nil || len(some) != 2 {
		t.Errorf("%v %v", some, err)
	}
}
