// Package restart takes gateways over from one process to the next, and looks that
// nobody notices.
package restart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// upgrade sends SIGUSR2 and returns the new process when it has taken over. Both processes say so, and
// either may be the first.
func (f *family) upgrade(old int) (pid int) {
	f.t.Helper()
	before, _ := f.handedOver()
	f.signal(old, syscall.SIGUSR2)
	f.logged("taken over", "from_pid", old)
	err := rig.Eventually(func() error {
		n, last := f.handedOver()
		if n == before {
			return fmt.Errorf("process %d does not say to whom it has handed over", old)
		}
		pid = last
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// handedOver is how often the log says that a process has handed over, and to whom at last.
func (f *family) handedOver() (times, pid int) {
	text, _ := os.ReadFile(f.log())
	for line := range strings.Lines(string(text)) {
		var fields struct {
			Msg string
			PID int
		}
		if json.Unmarshal([]byte(line), &fields) == nil && fields.Msg == "handed over" {
			times, pid = times+1, fields.PID
		}
	}
	return times, pid
}

func TestUpgradesUnderTraffic(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "10s")
	pid := f.start()
	f.ready()
	a := newTraffic(t, f.web)
	a.flows()
	for range 4 {
		held, err := dial(f.web)
		if err != nil {
			t.Fatal(err)
		}
		if err := held.send("/hold", "held"); err != nil {
			t.Fatal(err)
		}
		<-f.origin.begun
		next := f.upgrade(pid)
		if err := f.isReady(); err != nil {
			t.Error("readiness:", err)
		}
		a.flows()
		f.origin.goOn <- struct{}{}
		if last, err := held.answer("held"); err != nil || !last {
			t.Errorf("the request that was under way: %v %v", last, err)
		}
		_ = held.Close()
		f.exits(pid, 0)
		pid = next
	}
	a.flows()
	a.end()
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	f.gone()
}

// A stream goes on in the old process, until the limit.
func TestStreamStays(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "8s") // Long enough for "two" to get through a busy machine.
	old := f.start()
	f.ready()
	v, err := dial(f.web)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	if err := v.send("/stream", ""); err != nil {
		t.Fatal(err)
	}
	<-f.origin.begun
	f.origin.words <- "one"
	m, err := rig.ReadHead(v.in)
	if err != nil || m.Status() != 200 {
		t.Fatal(m, err)
	}
	next := f.upgrade(old)
	f.origin.words <- "two"
	if err := m.ReadBody(v.in, false); err != nil || m.Incomplete == nil || m.Body != "onetwo" {
		t.Errorf("wanted what was sent, cut at the limit: %v\n%s", err, m)
	}
	f.exits(old, 0)
	f.logged("connections were cut because they did not end in time", "connections", 1)
	f.signal(next, syscall.SIGTERM)
	f.exits(next, 0)
	f.gone()
}

// counted waits until the metrics have a line.
func (f *family) counted(line string) {
	f.t.Helper()
	err := rig.Eventually(func() error {
		_, body, err := rig.Get(f.admin, "/metrics")
		if err == nil && !strings.Contains(body, "\n"+line+"\n") {
			err = fmt.Errorf("no %s:\n%s", line, body)
		}
		return err
	})
	if err != nil {
		f.t.Error(err)
	}
}

// A new process that cannot start changes nothing.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "5s")
	pid := f.start()
	f.ready()
	a := newTraffic(t, f.web)
	f.configure("nonsense: 1\n")
	f.signal(pid, syscall.SIGUSR2)
	line := f.logged("handing over failed; this process goes on", "", 0)
	if line["process"] != "exit status 1" {
		t.Errorf("got %v", line)
	}
	f.counted(`sluice_handovers_total{result="failed"} 1`)
	a.flows()
	f.configure("")
	next := f.upgrade(pid)
	f.exits(pid, 0)
	f.counted(`sluice_handovers_total{result="taken"} 1`)
	a.flows()
	a.end()
	f.signal(next, syscall.SIGTERM)
	f.exits(next, 0)
	f.gone()
}

// SIGTERM while the new process is starting ends both.
func TestSIGTERMDuringUpgrade(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "5s")
	pid := f.start()
	f.ready()
	f.signal(pid, syscall.SIGUSR2)
	f.signal(pid, syscall.SIGUSR2)
	child := f.logged("handing over", "", 0)
	if child["pid"] == nil {
		t.Errorf("got %v", child)
	}
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	// The child is ended, unless it had taken over already: then it is its own master.
	if text, _ := os.ReadFile(f.log()); strings.Contains(string(text), `"handed over"`) {
		next := int(child["pid"].(float64))
		f.signal(next, syscall.SIGTERM)
		f.exits(next, 0)
	}
	f.gone()
}

// Processes that do not know each other hand over at a path.
func TestHandoverAtPath(t *testing.T) {
	t.Parallel()
	f := newFamily(t, "5s")
	door := filepath.Join(f.dir, "door")
	pid := f.start("--handover", door)
	f.ready()
	a := newTraffic(t, f.web)
	for range 3 {
		a.flows()
		next := f.start("--handover", door)
		f.logged("taken over", "from_pid", pid)
		f.exits(pid, 0)
		pid = next
	}
	a.flows()
	upgraded := f.upgrade(pid)
	f.exits(pid, 0)
	pid = upgraded

	f.configure("nonsense: 1\n")
	f.exits(f.start("--handover", door), 1)
	a.flows()
	a.end()
	f.signal(pid, syscall.SIGTERM)
	f.exits(pid, 0)
	if _, err := os.Stat(door); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	f.gone()
}
