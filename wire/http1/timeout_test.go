package http1

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// slowClient is one connection of a server in a bubble, whose clock stands still
// while anybody has something to do.
type slowClient struct {
	nc    net.Conn
	r     *bufio.Reader
	start time.Time
	busy  sync.WaitGroup
}

// inBubble serves one connection over net.Pipe and runs play on its other end.
func inBubble(t *testing.T, limits Limits, handler message.Handler, play func(t *testing.T, c *slowClient, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		server := NewServer("test", limits, handler)
		server.Admit()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server.ServeConn(far, netip.AddrPort{})
		}()
		c := &slowClient{nc: near, r: bufio.NewReader(near), start: time.Now()}
		play(t, c, server)
		_ = near.Close()
		c.busy.Wait()
		<-ended
	})
}

func (c *slowClient) send(text string) { _, _ = io.WriteString(c.nc, text) }

// end reads to the end and tells when that came.
func (c *slowClient) end() (string, time.Duration) {
	b, _ := io.ReadAll(c.r)
	return string(b), time.Since(c.start).Truncate(time.Microsecond)
}

// within says whether a coarse limit was kept: not before it and not past half as much
// again.
func within(d, limit time.Duration) bool { return d >= limit && d <= limit+limit/2 }

var timeLimits = Limits{HeadTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second, BodyTimeout: 30 * time.Second, WriteTimeout: 20 * time.Second}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		if got, after := c.end(); got != "" || !within(after, 60*time.Second) {
			t.Errorf("%q after %v", got, after)
		}
	})
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		for range 5 { // Each request gives the connection its time again.
			time.Sleep(59 * time.Second)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			c.readAnswer(t)
		}
		c.start = time.Now()
		if got, after := c.end(); got != "" || !within(after, 60*time.Second) {
			t.Errorf("%q after %v", got, after)
		}
	})
}

func (c *slowClient) readAnswer(t *testing.T) {
	t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			_, _ = c.r.Discard(len("hello"))
			return
		}
	}
}

func TestHeadTimeout(t *testing.T) {
	t.Parallel()
	// Bytes that trickle in do not buy time.
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		c.busy.Go(func() {
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX: trickle\r\n\r\n") {
				if _, err := c.nc.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if got, after := c.end(); !strings.HasPrefix(got, "HTTP/1.1 408 ") || after != 10*time.Second {
			t.Errorf("%q after %v", got, after)
		}
	})
	// An empty line behind a request is no beginning of another.
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.readAnswer(t)
		c.send("\r\n")
		if got, after := c.end(); got != "" || !within(after, 60*time.Second) {
			t.Errorf("%q after %v", got, after)
		}
	})
	// Nor does it buy time for that one, in however many pieces it comes.
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.readAnswer(t)
		c.send("\r")
		c.send("\n")
		c.start = time.Now()
		c.send("GET / HTTP")
		if got, after := c.end(); !strings.HasPrefix(got, "HTTP/1.1 408 ") || after != 10*time.Second {
			t.Errorf("%q after %v", got, after)
		}
	})
}

func TestBodyTimeout(t *testing.T) {
	t.Parallel()
	inBubble(t, timeLimits, echo, func(t *testing.T, c *slowClient, _ *Server) {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
		if got, after := c.end(); !strings.HasPrefix(got, "HTTP/1.1 408 ") || !within(after, 30*time.Second) {
			t.Errorf("%q after %v", got, after)
		}
	})
	// Silence counts, not the whole time.
	inBubble(t, timeLimits, echo, func(t *testing.T, c *slowClient, _ *Server) {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
		for _, b := range []byte("hello") {
			time.Sleep(29 * time.Second)
			c.send(string(b))
		}
		c.readAnswer(t)
	})
}

func TestMinimumBodyRate(t *testing.T) {
	t.Parallel()
	limits := timeLimits
	limits.MinimumBodyRate = 100
	post := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n"
	inBubble(t, limits, echo, func(t *testing.T, c *slowClient, _ *Server) {
		c.busy.Go(func() {
			c.send(post)
			for _, err := c.nc.Write([]byte("x")); err == nil; _, err = c.nc.Write([]byte("x")) {
				time.Sleep(time.Second)
			}
		})
		if got, after := c.end(); !strings.HasPrefix(got, "HTTP/1.1 408 ") || after < 15*time.Second || after > 20*time.Second {
			t.Errorf("%q after %v", got, after)
		}
	})
	// The time that the other side takes to read is not the client's.
	slow := handlerFunc(func(x *message.Exchange) {
		for n := 0; ; n++ {
			if _, err := x.Request.Body.Next(); err == io.EOF {
				_ = say(x, 200, "hello")
				return
			} else if err != nil {
				t.Error(err)
				_ = say(x, 408, "hello")
				return
			}
			time.Sleep(20 * time.Second)
		}
	})
	inBubble(t, limits, slow, func(t *testing.T, c *slowClient, _ *Server) {
		c.send(strings.Replace(post, "10000", "5", 1))
		for _, b := range []byte("hello") {
			c.send(string(b))
		}
		c.readAnswer(t)
	})
}

// A body that nobody wanted is not waited for as long as one that is read.
func TestUnwantedBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
		c.readAnswer(t)
		if got, after := c.end(); got != "" || after != discardTime {
			t.Errorf("%q after %v", got, after)
		}
	})
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, _ *Server) {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
		c.readAnswer(t)
		time.Sleep(discardTime / 2)
		c.send("llo")
		time.Sleep(59 * time.Second) // What follows has its own time again.
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.readAnswer(t)
	})
}

func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	var errs chan error
	inBubble(t, timeLimits, handlerFunc(func(x *message.Exchange) { errs <- say(x, 200, "hello") }), func(t *testing.T, c *slowClient, _ *Server) {
		errs = make(chan error, 1) // It belongs to the bubble.
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if err := <-errs; err != message.ClientTooSlow || !within(time.Since(c.start), 20*time.Second) {
			t.Errorf("%v after %v", err, time.Since(c.start))
		}
	})
}

// A client that goes on reading has its time for each part of a body that is in memory.
func TestWriteTimeoutIsNotOfAWholeBody(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	inBubble(t, timeLimits, handlerFunc(func(x *message.Exchange) { _ = say(x, 200, strings.Repeat("x", size)) }), func(t *testing.T, c *slowClient, _ *Server) {
		c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		got, room := 0, make([]byte, 8<<10)
		for {
			n, err := c.nc.Read(room)
			got += n
			if err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if got < size || time.Since(c.start) < 2*timeLimits.WriteTimeout {
			t.Errorf("%d bytes in %v", got, time.Since(c.start))
		}
	})
}

func TestDrainEndsIdleConnections(t *testing.T) {
	t.Parallel()
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, s *Server) {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.readAnswer(t)
		synctest.Wait()
		s.Drain()
		if got, after := c.end(); got != "" || after != 0 {
			t.Errorf("%q after %v", got, after)
		}
	})
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, s *Server) {
		synctest.Wait()
		s.Drain()
		if got, after := c.end(); got != "" || after != drainFirst {
			t.Errorf("one that has asked nothing yet: %q after %v", got, after)
		}
	})
	// A client that was let in may still ask, in all its time.
	inBubble(t, timeLimits, echo, func(t *testing.T, c *slowClient, s *Server) {
		synctest.Wait()
		s.Drain()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n")
		time.Sleep(9 * time.Second)
		c.send("\r\n")
		time.Sleep(29 * time.Second)
		c.send("hello")
		if got, _ := c.end(); !strings.Contains(got, "HTTP/1.1 200 ") || !strings.Contains(got, "Connection: close") {
			t.Errorf("%q", got)
		}
	})
	// The deadline of the drain is none for a body that follows.
	equal := timeLimits
	equal.BodyTimeout = equal.IdleTimeout
	inBubble(t, equal, echo, func(t *testing.T, c *slowClient, s *Server) {
		synctest.Wait()
		s.Drain()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
		time.Sleep(59 * time.Second)
		c.send("hello")
		if got, _ := c.end(); !strings.HasSuffix(got, "hello") {
			t.Errorf("%q", got)
		}
	})
	// An exchange under way is finished, and is the last.
	var started, goOn chan struct{}
	wait := handlerFunc(func(x *message.Exchange) { close(started); <-goOn; _ = say(x, 200, "hello") })
	synctest.Test(t, func(t *testing.T) {
		started, goOn = make(chan struct{}), make(chan struct{})
		near, far := net.Pipe()
		s := NewServer("", timeLimits, wait)
		s.Admit()
		ended := make(chan struct{})
		go func() { s.ServeConn(far, netip.AddrPort{}); close(ended) }()
		c := &slowClient{nc: near, r: bufio.NewReader(near), start: time.Now()}
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		<-started
		s.Drain()
		close(goOn)
		if got, _ := c.end(); !strings.Contains(got, "Connection: close") || !strings.HasSuffix(got, "hello") {
			t.Errorf("%q", got)
		}
		<-ended
		if s.Connections() != 0 {
			t.Error("the connection is still counted")
		}
	})
}

// A server that has given its sockets away lets idle clients ask once more, and tells them.
func TestKeepIdle(t *testing.T) {
	t.Parallel()
	const keep = 5 * time.Second
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, s *Server) {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.readAnswer(t)
		synctest.Wait()
		begun := time.Since(c.start)
		s.KeepIdle(keep)
		s.Drain()
		if got, after := c.end(); got != "" || after-begun != keep {
			t.Errorf("nobody asks: %q after %v", got, after-begun)
		}
	})
	inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, s *Server) {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.readAnswer(t)
		synctest.Wait()
		s.KeepIdle(keep)
		s.Drain()
		time.Sleep(keep - time.Millisecond)
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if got, _ := c.end(); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, "Connection: close") || !strings.HasSuffix(got, "hello") {
			t.Errorf("the last request: %q", got)
		}
	})
	// One that has asked nothing yet has the longer of both times.
	for keep, want := range map[time.Duration]time.Duration{keep: keep, time.Millisecond: drainFirst} {
		inBubble(t, timeLimits, hello, func(t *testing.T, c *slowClient, s *Server) {
			synctest.Wait()
			s.KeepIdle(keep)
			s.Drain()
			if got, after := c.end(); got != "" || after != want {
				t.Errorf("a fresh one with %v: %q after %v", keep, got, after)
			}
		})
	}
}

func TestConnectionBehindClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		s := NewServer("", timeLimits, hello)
		s.Close()
		s.Admit()
		start := time.Now()
		s.ServeConn(far, netip.AddrPort{})
		if after := time.Since(start); after != 0 {
			t.Errorf("it ended after %v", after)
		}
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	})
}
