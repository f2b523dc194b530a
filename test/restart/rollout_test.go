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
	if err := rig.Eventually(func() error {
		_, text, err := rig.Get(f.admin, "/rollouts/all")
		if err == nil && (!strings.Contains(text, `"status": "paused"`) || !strings.Contains(text, `"share": 0.3`) || !strings.Contains(text, `"decides": true`)) {
			err = fmt.Errorf("it is %s", text)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f.steer("promote", "all is promoted: 100% of the requests go to v2")
	f.signal(next, syscall.SIGTERM)
	f.exits(next, 0)
	pid = f.start()
	f.ready()
	if _, text, err := rig.Get(f.admin, "/rollouts/all"); err != nil || !strings.Contains(text, `"status": "completed"`) {
		t.Errorf("after a restart: %v, %s", err, text)
	}
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	f.gone()
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
