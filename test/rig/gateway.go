package rig

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Gateway is one running process of the gateway.
type Gateway struct {
	Admin string // the address of the admin listener

	cmd    *exec.Cmd
	log    output
	exited chan struct{}
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Start runs "sluice serve" on a file, in a folder. limits is put before it in a
// shell, "ulimit -n 40" for example. It does not wait until the gateway is ready.
func Start(dir, file, admin, limits string, env []string) (*Gateway, error) {
	path, err := Binary()
	if err != nil {
		return nil, err
	}
	g := &Gateway{Admin: admin, exited: make(chan struct{})}
	if limits == "" {
		limits = ":"
	}
	g.cmd = exec.Command("sh", "-c", limits+` && exec "$0" "$@"`, path, "serve", "--config", file)
	g.cmd.Dir = dir
	g.cmd.Env = append(os.Environ(), env...)
	g.cmd.Stdout, g.cmd.Stderr = &g.log, &g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	return g, nil
}

// Log is everything that the process has printed.
func (g *Gateway) Log() string { return g.log.String() }

// Logged waits until the words are in the log and returns how often they are. A line may be on its way to
// us when what it tells of is to be seen already.
func (g *Gateway) Logged(words string) (int, error) {
	times := 0
	err := Eventually(func() error {
		if times = strings.Count(g.Log(), words); times == 0 {
			return fmt.Errorf("the log does not say %s:\n%s", words, g.Log())
		}
		return nil
	})
	return times, err
}

// Running says whether the process is there.
func (g *Gateway) Running() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

// Ready waits until the gateway says so.
func (g *Gateway) Ready() error {
	var gone error
	err := Eventually(func() error {
		if !g.Running() {
			gone = fmt.Errorf("the gateway ended with %s", g.cmd.ProcessState)
			return nil
		}
		status, body, err := g.Get("/readyz")
		if err != nil {
			return err
		}
		if status != 200 {
			return fmt.Errorf("/readyz says %d %s", status, body)
		}
		return nil
	})
	return errors.Join(gone, err)
}

// Signal sends a signal to the process.
func (g *Gateway) Signal(s syscall.Signal) error { return g.cmd.Process.Signal(s) }

// Wait waits for the end of the process and returns its exit code.
func (g *Gateway) Wait() (int, error) {
	select {
	case <-g.exited:
		return g.cmd.ProcessState.ExitCode(), nil
	case <-time.After(Patience):
		return 0, errors.New("the gateway does not end")
	}
}

// Kill ends the process at once.
func (g *Gateway) Kill() {
	if g.Running() {
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
}

// Peak is the most memory that the process has ever had resident, in bytes.
func (g *Gateway) Peak() (int64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(g.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("rig: /proc says nothing of VmHWM")
}

// Get asks the admin listener.
func (g *Gateway) Get(path string) (status int, body string, err error) {
	return Get(g.Admin, path)
}

// Get asks an address for a path, on a connection of its own.
func Get(address, path string) (status int, body string, err error) {
	c, err := net.DialTimeout("tcp", address, Patience)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(Patience)); err != nil {
		return 0, "", err
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, "", err
	}
	r := bufio.NewReader(c)
	m, err := ReadHead(r)
	if err != nil {
		return 0, "", err
	}
	if err := m.ReadBody(r, false); err != nil {
		return 0, "", err
	}
	return m.Status(), m.Body, m.Incomplete
}
