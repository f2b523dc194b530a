package restart

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// A roll-out goes on in the new process where it was, and that one decides.
func TestRolloutIsHandedOver(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "5s")
	f.write(fmt.Sprintf(`drain: { shutdown: 5s }
admin: { address: %q }
listeners:
  - { name: web, address: %q }
upstreams:
  - { name: v1, endpoints: ["http://%[3]s"] }
  - { name: v2, endpoints: ["http://%[3]s"] }
routes:
  - name: all
    rollout: { from: v1, to: v2, steps: [30%%, 100%%], every: 1h, guard: { window: 100ms } }
`, f.admin, f.web, f.origin.address))
	pid := f.start()
	f.ready()
	f.steer("pause", "all is paused: 30% of the requests go to v2")
	next := f.upgrade(pid)
	f.exits(pid, 0)
	f.rolloutHas(`"status": "paused"`, `"share": 0.3`, `"decides": true`)
	f.steer("promote", "all is promoted: 100% of the requests go to v2")
	f.signal(next, syscall.SIGTERM)
	f.exits(next, 0)
	pid = f.start()
	f.ready()
	f.rolloutHas(`"status": "completed"`, `"share": 1`)
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	f.gone()
}

// rolloutHas waits until the admin listener says these words of the roll-out.
func (f *family) rolloutHas(words ...string) {
	f.t.Helper()
	if err := rig.Eventually(func() error {
		_, text, err := rig.Get(f.admin, "/rollouts/all")
		for _, w := range words {
			if err == nil && !strings.Contains(text, w) {
				err = fmt.Errorf("%s is missing: %s", w, text)
			}
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
}

// steer runs the command rollout, which must say these words.
func (f *family) steer(action, words string) {
	f.t.Helper()
	path, err := rig.Binary()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := exec.Command(path, "rollout", action, "--admin", f.admin).CombinedOutput()
	if err != nil || !strings.Contains(string(out), words) {
		f.t.Errorf("%s: %v: %s", action, err, out)
	}
}
