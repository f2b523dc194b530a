package restart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// The units of examples/systemd are what systemd understands, and what they run is what
// this program understands.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is needed for this test: apt-get install systemd, or run tools/setup/test.sh")
	}
	binary, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	const folder = "../../examples/systemd"
	here := t.TempDir()
	var units []string
	for _, name := range []string{"sluice.service", "sluice.socket"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(text), "/usr/local/bin/sluice", binary)
		unit := filepath.Join(here, name)
		if err := os.WriteFile(unit, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
	service, err := os.ReadFile(units[0])
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string][]string{}
	for line := range strings.Lines(string(service)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		runs[key] = strings.Fields(value)
	}
	for key, want := range map[string][]string{
		"Type":         {"notify"},
		"Requires":     {"sluice.socket"},
		"ExecStartPre": {binary, "check", "--config", "/etc/sluice/sluice.yaml"},
		"ExecStart":    {binary, "serve", "--config", "/etc/sluice/sluice.yaml"},
		"ExecReload":   {"/bin/kill", "-HUP", "$MAINPID"},
	} {
		if strings.Join(runs[key], " ") != strings.Join(want, " ") {
			t.Errorf("%s=%s, want %s", key, runs[key], want)
		}
	}
	arguments := append([]string{}, runs["ExecStartPre"][1:]...)
	arguments[len(arguments)-1] = "../../examples/hello.yaml"
	if out, err := exec.Command(binary, arguments...).CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", arguments, err, out)
	}
}
