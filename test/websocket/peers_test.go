// Package websocket puts the real binary between peers that others wrote: npm's ws and Debian's
// python3-websockets, each as client and as origin, and node's HTTP/2 on either side.
package websocket

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// installed is a folder with the peers and what they need.
var installed = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "sluice-websocket-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"package.json", "package-lock.json", "peer.js", "peer.py"} {
		data, err := os.ReadFile(filepath.Join("peers", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o600)
		}
		if err != nil {
			return folder, err
		}
	}
	cmd := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return folder, fmt.Errorf("npm ci, which tools/setup/test.sh and a registry are needed for: %w\n%s", err, out)
	}
	return folder, nil
})

// peer is a running process.
type peer struct {
	t     *testing.T
	name  string
	lines chan string
	err   *strings.Builder
	done  chan error
}

// node and python start peers.
func node(t *testing.T, args ...string) *peer {
	return start(t, append([]string{"node", "peer.js"}, args...))
}
func python(t *testing.T, args ...string) *peer {
	return start(t, append([]string{"/usr/bin/python3", "peer.py"}, args...))
}

func start(t *testing.T, command []string) *peer {
	t.Helper()
	folder, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, name: strings.Join(command, " "), lines: make(chan string, 10000), err: new(strings.Builder), done: make(chan error, 1)}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = folder
	cmd.Stderr = p.err
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
		p.done <- cmd.Wait()
		close(p.lines)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range p.lines { //nolint:revive // Until it is gone.
		}
	})
	return p
}

// patience is how long a step of a peer may take: they carry megabytes on a busy machine.
const patience = 60 * time.Second

// says waits until the peer prints a line that begins so, and returns the rest of it.
func (p *peer) says(prefix string) string {
	p.t.Helper()
	late := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("%s ended without %q: %s", p.name, prefix, p.err)
			}
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimSpace(rest)
			}
		case <-late:
			p.t.Fatalf("%s does not say %q", p.name, prefix)
		}
	}
}

// silent sees that the peer has said nothing more.
func (p *peer) silent() {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		p.t.Errorf("%s says %q (%v): %s", p.name, line, ok, p.err)
	default:
	}
}

// ends waits for a good end.
func (p *peer) ends() {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("%s: %v: %s", p.name, err, p.err)
		}
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
	}
}

// listens returns the address of a peer that serves.
func (p *peer) listens() string {
	p.t.Helper()
	return "127.0.0.1:" + p.says("listening")
}
