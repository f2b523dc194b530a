package restart

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) {
	// Processes whose parent has ended become our children, so that we see how they end.
	const setChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		fmt.Fprintln(os.Stderr, "prctl:", errno)
		os.Exit(1)
	}
	os.Exit(rig.Main(m))
}

// family is the processes of one gateway over its restarts.
type family struct {
	t          *testing.T
	dir        string
	web, admin string
	origin     *origin
	drain      string
	group      int // of all processes
}

func newFamily(t *testing.T, drain string) *family {
	t.Helper()
	f := &family{t: t, dir: t.TempDir(), origin: newOrigin(t), drain: drain}
	f.web, f.admin = free(t), free(t)
	f.configure("")
	t.Cleanup(f.bury)
	return f
}

func free(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// configure writes the configuration, with more at its end.
func (f *family) configure(more string) {
	f.t.Helper()
	f.write(fmt.Sprintf(`drain: { shutdown: %s }
admin: { address: "%s" }
listeners:
  - { name: web, address: "%s" }
upstreams:
  - { name: origin, endpoints: ["http://%s"] }
routes:
  - { name: all, match: { path: /** }, upstream: origin }
%s`, f.drain, f.admin, f.web, f.origin.address, more))
}

func (f *family) write(text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, "sluice.yaml")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
}

// start starts a process; it does not wait for anything.
func (f *family) start(arguments ...string) (pid int) {
	return f.startWith(nil, nil, arguments...)
}

func (f *family) startWith(env []string, files []*os.File, arguments ...string) (pid int) {
	f.t.Helper()
	path, err := rig.Binary()
	if err != nil {
		f.t.Fatal(err)
	}
	log, err := os.OpenFile(f.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	// The shell knows the number that the process will have.
	script := `exec "$0" "$@"`
	if files != nil {
		script = `LISTEN_PID=$$ exec "$0" "$@"`
	}
	cmd := exec.Command("sh", append([]string{"-c", script, path, "serve"}, arguments...)...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = f.dir, append(os.Environ(), env...), files
	cmd.Stdout, cmd.Stderr = log, log
	if f.group != 0 && errors.Is(syscall.Kill(-f.group, 0), syscall.ESRCH) {
		f.group = 0 // All have ended.
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: f.group}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	if f.group == 0 {
		f.group = cmd.Process.Pid
	}
	pid = cmd.Process.Pid
	_ = cmd.Process.Release() // exits waits for it.
	return pid
}

func (f *family) log() string { return filepath.Join(f.dir, "log") }

// logged waits for a line of the log that has the message and this number behind the
// name, and returns it.
func (f *family) logged(message, name string, number int) map[string]any {
	f.t.Helper()
	var found map[string]any
	err := rig.Eventually(func() error {
		text, err := os.ReadFile(f.log())
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			var fields map[string]any
			if json.Unmarshal([]byte(line), &fields) != nil || fields["msg"] != message {
				continue
			}
			if name == "" || fields[name] == float64(number) {
				found = fields
				return nil
			}
		}
		return fmt.Errorf("the log has no %q with %s=%d:\n%s", message, name, number, text)
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

// ready waits until the gateway says so.
func (f *family) ready() {
	f.t.Helper()
	if err := rig.Eventually(f.isReady); err != nil {
		text, _ := os.ReadFile(f.log())
		f.t.Fatalf("%v\n%s", err, text)
	}
}

func (f *family) isReady() error {
	status, body, err := rig.Get(f.admin, "/readyz")
	if err == nil && status != 200 {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

func (f *family) signal(pid int, s syscall.Signal) {
	f.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		f.t.Fatalf("%v to %d: %v", s, pid, err)
	}
}

// exits waits for the end of a process and checks its exit code.
func (f *family) exits(pid, code int) {
	f.t.Helper()
	ended := make(chan syscall.WaitStatus, 1)
	go func() {
		var status syscall.WaitStatus
		for {
			_, err := syscall.Wait4(pid, &status, 0, nil)
			if !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		ended <- status
	}()
	select {
	case status := <-ended:
		if !status.Exited() || status.ExitStatus() != code {
			text, _ := os.ReadFile(f.log())
			f.t.Fatalf("process %d: wanted exit code %d, got %#x\n%s", pid, code, status, text)
		}
	case <-time.After(rig.Patience):
		text, _ := os.ReadFile(f.log())
		f.t.Fatalf("process %d does not end\n%s", pid, text)
	}
}

// gone checks that no process is left.
func (f *family) gone() {
	f.t.Helper()
	if err := syscall.Kill(-f.group, 0); !errors.Is(err, syscall.ESRCH) {
		f.t.Errorf("a process is left: %v", err)
	}
	text, _ := os.ReadFile(f.log())
	for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
		if strings.Contains(string(text), bad) {
			f.t.Errorf("the log has %q:\n%s", bad, text)
		}
	}
}

// bury ends whatever a failed test has left.
func (f *family) bury() {
	if f.group == 0 {
		return
	}
	_ = syscall.Kill(-f.group, syscall.SIGKILL)
	for {
		_, err := syscall.Wait4(-f.group, nil, 0, nil)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
