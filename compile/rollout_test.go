package compile

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/target"
)

// moving is a roll-out that does nothing but to be there.
type moving struct {
	route string
	kept  *kept
}

func (m *moving) Start()                    {}
func (m *moving) Remove()                   {}
func (m *moving) Release()                  {}
func (m *moving) View() canary.View         { return canary.View{Route: m.route} }
func (m *moving) Steer(canary.Action) error { return nil }

// movingKind keeps something and shows itself to operators.
func (l *ledger) movingKind() target.Kind {
	return target.Define("moving", embed.FS{}, func(_ *noSettings, env *target.Env) (target.Handler, error) {
		m := &moving{route: env.Route}
		if !env.Dry {
			var err error
			if m.kept, err = target.Keep(env, "moving", func() (*kept, error) {
				l.opened.Add(1)
				return &kept{l}, nil
			}); err != nil {
				return target.Handler{}, err
			}
		}
		env.Operate(m)
		return target.Handler{}, nil
	})
}

const movingDocument = `listeners: [{ name: web, address: ":8080" }]
upstreams: [{ name: spare, endpoints: ["http://10.0.0.2:8080"] }]
routes:
  - { name: one, match: { path: %s }, moving: {} }
  - { name: two, match: { path: /two }, chain: { chain: { moving: {} }, then: { upstream: %s } } }
`

// TestRolloutsOfASnapshot: what a target keeps survives a reload of its route, also within another
// target, and is closed with the last snapshot; a refused configuration closes nothing of
// others'.
func TestRolloutsOfASnapshot(t *testing.T) {
	t.Parallel()
	var l ledger
	c := newCompiler(&l)
	kind := l.movingKind()
	c.targets["moving"], c.kinds = &kind, append(c.kinds, "moving")
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	compile := func(match, upstream string) (*Result, error) {
		t.Helper()
		if err := os.WriteFile(path, fmt.Appendf(nil, movingDocument, match, upstream), 0o600); err != nil {
			t.Fatal(err)
		}
		return compileFile(t, c, path, &config.Cache{})
	}
	first, err := compile("/one", "spare")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(first.Rollouts); n != 2 || first.Rollouts[0].View().Route != "one" || first.Rollouts[1].View().Route != "two" {
		t.Fatalf("%d roll-outs: %v", n, first.Rollouts)
	}
	if _, err := compile("/uno", "nobody"); err == nil {
		t.Error("an upstream that is not there is taken")
	}
	if opened, closed := l.opened.Load(), l.closed.Load(); opened != 2 || closed != 0 {
		t.Errorf("after a refused reload: %d opened, %d closed", opened, closed)
	}
	second, err := compile("/uno", "spare")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if first.Rollouts[i].(*moving).kept != second.Rollouts[i].(*moving).kept {
			t.Errorf("roll-out %d did not survive the reload", i)
		}
	}
	for _, r := range []*Result{first, second} {
		if l.closed.Load() != 0 {
			t.Error("what is in use was closed")
		}
		if err := r.Snapshot.Close(); err != nil {
			t.Error(err)
		}
	}
	if opened, closed := l.opened.Load(), l.closed.Load(); opened != 2 || closed != 2 || c.Kept() != 0 {
		t.Errorf("at the end: %d opened, %d closed, %d kept", opened, closed, c.Kept())
	}
}
