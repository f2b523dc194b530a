package listen

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patient gives both ends of a conversation time, so that a test that waits for nothing
// fails and does not hang.
func patient(t *testing.T) (old, next *net.UnixConn) {
	t.Helper()
	old, next = conversation(t)
	for _, c := range []*net.UnixConn{old, next} {
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return old, next
}

// heldSocket is a listening socket to hand over.
func heldSocket(t *testing.T, name string) Held {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return Held{Name: name, Address: l.Addr().String(), Socket: l}
}

func quiet() *Inheritance { return NewInheritance(slog.New(slog.DiscardHandler)) }

type offered struct {
	pid int
	err error
}

// offering offers on its own goroutine.
func offering(conn *net.UnixConn, sockets ...Held) <-chan offered {
	done := make(chan offered, 1)
	go func() {
		pid, err := Offer(conn, sockets)
		done <- offered{pid, err}
	}()
	return done
}

func TestHandover(t *testing.T) {
	t.Parallel()
	old, next := patient(t)
	web, secure := heldSocket(t, "web"), heldSocket(t, "secure")
	secure.Kept = true
	done := offering(old, web, secure)
	i := quiet()
	pid, err := i.Receive(next)
	if err != nil || pid != os.Getpid() {
		t.Fatalf("from %d: %v", pid, err)
	}
	ready := make(chan error, 1)
	go func() { ready <- Ready(next) }()
	if got := <-done; got.err != nil || got.pid != os.Getpid() {
		t.Fatalf("to %d: %v", got.pid, got.err)
	}
	select {
	case err := <-ready:
		t.Fatalf("it is ours before the giver has let go: %v", err)
	default:
	}
	if err := Yours(old, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	for _, h := range []Held{web, secure} {
		l, kept := i.Take(h.Name, h.Address)
		if l == nil || kept != h.Kept {
			t.Fatalf("%s: got %v, kept %v", h.Name, l, kept)
		}
		if _, err := net.Dial("tcp", h.Address); err != nil {
			t.Error(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Close(), l.Close()
	}
}

// A new process that dies, talks nonsense or stays silent, at whichever step, leaves the old
// one as it was, with an error and without a descriptor more.
func TestOfferToATroubledProcess(t *testing.T) {
	t.Parallel()
	hello := `{"version":1,"pid":7}`
	for name, c := range map[string]struct {
		says []string
		acts func(c *net.UnixConn) // after that
		want string
		err  error
	}{
		"dies before it says anything": {nil, closes, "handing over: the other process is gone: EOF", io.EOF},
		"dies after its greeting":      {[]string{hello}, closes, "handing over", nil},
		"dies when it has the sockets": {[]string{hello}, func(c *net.UnixConn) { reads(c, 3); closes(c) }, "did not become ready: the other process is gone: EOF", io.EOF},
		"dies with something unread":   {[]string{hello}, func(c *net.UnixConn) { reads(c, 1); closes(c) }, "", nil},
		"sends half a greeting":        {[]string{hello[:9]}, nil, "not a note of a hand-over", nil},
		"sends half a word":            {[]string{hello, `{"ready":tr`}, nil, "did not become ready: not a note", nil},
		"sends an empty message":       {[]string{""}, nil, "handing over: the other process is gone: EOF", io.EOF},
		"sends too much":               {[]string{`{"refused":"` + strings.Repeat("a", noteBytes) + `"}`}, nil, "not a note", nil},
		"sends something else":         {[]string{hello, hello}, nil, "did not say that it is ready", nil},
		"speaks another version":       {[]string{`{"version":2}`}, nil, "version 1 of the conversation is spoken here, not 2", nil},
		"refuses":                      {[]string{hello, `{"refused":"no room"}`}, nil, "refuses: no room", errRefused},
		"is silent":                    {nil, nil, "i/o timeout", os.ErrDeadlineExceeded},
		"is silent with the sockets":   {[]string{hello}, nil, "did not become ready", os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, next := patient(t)
			if errors.Is(c.err, os.ErrDeadlineExceeded) {
				_ = old.SetDeadline(time.Now().Add(50 * time.Millisecond))
			}
			for _, text := range c.says {
				if _, _, err := next.WriteMsgUnix([]byte(text), nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			done := offering(old, heldSocket(t, "web"), heldSocket(t, "secure"))
			if c.acts != nil {
				c.acts(next)
			}
			got := <-done
			if got.err == nil || !strings.Contains(got.err.Error(), c.want) || c.err != nil && !errors.Is(got.err, c.err) {
				t.Errorf("got %v, want %q", got.err, c.want)
			}
		})
	}
}

func closes(c *net.UnixConn) { _ = c.Close() }

// reads takes some messages and closes what came with them.
func reads(c *net.UnixConn, messages int) {
	for range messages {
		if _, fd, err := readNote(c); err != nil {
			return
		} else if fd >= 0 {
			_ = syscall.Close(fd)
		}
	}
}

// An old process that dies or talks nonsense leaves the new one with an error, and nothing
// of what it has sent stays open.
func TestReceiveFromATroubledProcess(t *testing.T) {
	t.Parallel()
	head := `{"pid":7,"sockets":2}`
	web := `{"name":"web","address":"127.0.0.1:80"}`
	for name, c := range map[string]struct {
		says  []string // a text with a + before it comes with a descriptor
		close bool
		want  string
		err   error
	}{
		"dies before it says anything":  {nil, true, "taking over: the other process is gone: EOF", io.EOF},
		"dies before the sockets":       {[]string{head}, true, `the socket of "": the other process is gone: EOF`, io.EOF},
		"dies between the sockets":      {[]string{head, "+" + web}, true, `the socket of "": the other process is gone: EOF`, io.EOF},
		"sends half a head":             {[]string{head[:7]}, false, "not a note", nil},
		"sends half a socket":           {[]string{head, "+" + web[:9]}, false, "not a note", nil},
		"sends a socket with its head":  {[]string{"+" + head, "+" + web}, true, "EOF", io.EOF},
		"sends no descriptor":           {[]string{head, web}, false, "no descriptor came with it", nil},
		"offers too many":               {[]string{`{"sockets":1001}`}, false, "1001 sockets are offered", nil},
		"offers fewer than none":        {[]string{`{"sockets":-1}`}, false, "-1 sockets are offered", nil},
		"refuses":                       {[]string{`{"refused":"busy"}`}, true, "refuses: busy", errRefused},
		"refuses between the sockets":   {[]string{head, "+" + web, `{"refused":"no"}`}, true, "refuses: no", errRefused},
		"is silent":                     {nil, false, "i/o timeout", os.ErrDeadlineExceeded},
		"is silent between the sockets": {[]string{head, "+" + web}, false, "i/o timeout", os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, next := patient(t)
			if errors.Is(c.err, os.ErrDeadlineExceeded) {
				_ = next.SetDeadline(time.Now().Add(50 * time.Millisecond))
			}
			for _, text := range c.says {
				text, with := strings.CutPrefix(text, "+")
				var rights []byte
				if with {
					rights = syscall.UnixRights(listening(t))
				}
				if _, _, err := old.WriteMsgUnix([]byte(text), rights, nil); err != nil {
					t.Fatal(err)
				}
			}
			if c.close {
				closes(old)
			}
			i := quiet()
			_, err := i.Receive(next)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			i.Close()
		})
	}
}

// listening is the descriptor of a listening socket that lives as long as the test.
func listening(t *testing.T) int {
	t.Helper()
	f, err := heldSocket(t, "").Socket.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

// Once it is ready, the new process goes on unless it is refused.
func TestReady(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		close  bool
		want   string
	}{
		"let go":  {`{"yours":true}`, false, ""},
		"gone":    {"", true, ""},
		"refused": {`{"refused":"too late"}`, true, "refuses: too late"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, next := patient(t)
			if c.answer != "" {
				if _, err := old.Write([]byte(c.answer)); err != nil {
					t.Fatal(err)
				}
			}
			if c.close {
				closes(old)
			}
			err := Ready(next)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Whoever sends descriptors that nobody asked for fills no table of files: each is closed.
func TestDescriptorsThatNobodyWants(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	old, next := patient(t)
	rights := syscall.UnixRights(int(write.Fd()), int(write.Fd()))
	for _, text := range []string{`{"version":1,"pid":7}`, `{"ready":true}`} {
		if _, _, err := next.WriteMsgUnix([]byte(text), rights, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-offering(old); got.err != nil {
		t.Error(got.err)
	}
	other, giver := patient(t)
	for _, text := range []string{`{"sockets":1}`, `{"na`} {
		if _, _, err := giver.WriteMsgUnix([]byte(text), rights, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := quiet().Receive(other); err == nil {
		t.Error("half a note is taken")
	}
	_ = write.Close()
	if err := read.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := read.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("a descriptor is still open: %d, %v", n, err)
	}
}
