package tunnel

import (
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// side is a Side in memory: a test gives it what its peer sends and looks at what was written.
type side struct {
	mu       sync.Mutex
	cond     sync.Cond
	incoming []string
	ended    error // behind incoming
	woken    bool
	closed   bool
	written  string
	wrote    bool // CloseWrite
	deaf     bool // Write fails
	stuck    chan struct{}
}

func newSide() *side {
	s := &side{}
	s.cond.L = &s.mu
	return s
}

func (s *side) send(parts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.incoming = append(s.incoming, parts...)
	s.cond.Broadcast()
}

func (s *side) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = err
	s.cond.Broadcast()
}

func (s *side) Next() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return nil, io.ErrClosedPipe
		case len(s.incoming) > 0:
			p := []byte(s.incoming[0])
			s.incoming = s.incoming[1:]
			return p, nil
		case s.ended != nil:
			return nil, s.ended
		case s.woken:
			s.woken = false
			return nil, ErrWoken
		}
		s.cond.Wait()
	}
}

func (s *side) Write(p []byte) (int, error) {
	if s.stuck != nil {
		<-s.stuck
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf {
		return 0, errDeaf
	}
	s.written += string(p)
	return len(p), nil
}

var errDeaf = errors.New("nobody reads")

func (s *side) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote = true
	return nil
}

func (s *side) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.woken = true
	s.cond.Broadcast()
}

func (s *side) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.cond.Broadcast()
	return nil
}

func (s *side) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.written
	s.written = ""
	return w
}

// pair is a running tunnel.
type pair struct {
	t              *testing.T
	client, origin *side
	joint          *Joint
	done           chan struct{}
	began          time.Time
}

func run(t *testing.T, webSocket bool) *pair {
	p := &pair{t: t, client: newSide(), origin: newSide(), done: make(chan struct{}), began: time.Now()}
	p.joint = New(p.client, p.origin, webSocket)
	go func() {
		defer close(p.done)
		p.joint.Run()
	}()
	synctest.Wait()
	return p
}

func (p *pair) over() bool {
	synctest.Wait()
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// expect looks at what was written since.
func (p *pair) expect(client, origin string) {
	p.t.Helper()
	synctest.Wait()
	if got := p.client.take(); got != client {
		p.t.Errorf("the client got %q, not %q", got, client)
	}
	if got := p.origin.take(); len(got) == 8 && origin == masked && got[:2] == "\x88\x82" {
		if got[6]^got[2] != 3 || got[7]^got[3] != 0xe9 {
			p.t.Errorf("the origin got %q", got)
		}
	} else if got != origin {
		p.t.Errorf("the origin got %q, not %q", got, origin)
	}
}

// Frames of WebSocket.
const (
	hello      = "\x81\x05hello"
	helloUp    = "\x81\x85\x00\x00\x00\x00hello"
	goingAway  = "\x88\x02\x03\xe9"
	masked     = "goingAway with a key"
	answer     = "\x88\x02\x03\xe8"
	answerUp   = "\x88\x82\x00\x00\x00\x00\x03\xe9"
	partOfText = "\x81\x05he"
)

func TestCopiesBothWays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := run(t, false)
		p.client.send("up", "and up")
		p.origin.send("down")
		p.expect("down", "upand up")
		p.client.end(io.EOF)
		synctest.Wait()
		if !p.origin.wrote || p.over() {
			t.Error("the client's half is closed, and the other one is not")
		}
		p.origin.send("last words")
		p.origin.end(io.EOF)
		p.expect("last words", "")
		if !p.over() || !p.client.wrote || !p.client.closed || !p.origin.closed {
			t.Error("it is not over")
		}
	})
}

func TestEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, end := range map[string]func(p *pair){
		"the client breaks":   func(p *pair) { p.client.end(broken) },
		"the origin breaks":   func(p *pair) { p.origin.end(broken) },
		"the client is deaf":  func(p *pair) { p.client.deaf = true; p.origin.send("x") },
		"the origin is deaf":  func(p *pair) { p.origin.deaf = true; p.client.send("x") },
		"the client closes":   func(p *pair) { _ = p.client.Close() },
		"the origin closes":   func(p *pair) { _ = p.origin.Close() },
		"both say everything": func(p *pair) { p.origin.end(io.EOF); p.client.end(io.EOF) },
	} {
		synctest.Test(t, func(t *testing.T) {
			p := run(t, true)
			end(p)
			if !p.over() || !p.client.closed || !p.origin.closed {
				t.Errorf("%s: it is not over", name)
			}
			p.joint.Leave() // Too late, and harmless.
			if p.client.woken || p.origin.woken {
				t.Errorf("%s: woken behind the end", name)
			}
		})
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		talk  func(p *pair)
		takes time.Duration // until the tunnel is over
	}{
		"silent, both answer": {func(p *pair) {
			p.joint.Leave()
			p.expect(goingAway, masked)
			p.client.send(answerUp)
			p.origin.send(answer)
			p.expect("", "") // Nothing may follow a Close frame.
		}, 0},
		"silent, one answers": {func(p *pair) {
			p.joint.Leave()
			p.expect(goingAway, masked)
			p.origin.send(answer)
			p.expect("", "")
		}, farewell},
		"silent, nobody answers": {func(p *pair) {
			p.joint.Leave()
			p.joint.Leave()
			p.expect(goingAway, masked)
		}, farewell},
		"what comes behind is dropped": {func(p *pair) {
			p.client.send(helloUp)
			p.origin.send(hello)
			p.expect(hello, helloUp)
			p.joint.Leave()
			p.expect(goingAway, masked)
			p.client.send(helloUp + answerUp)
			p.origin.send(hello, answer)
			p.expect("", "")
		}, 0},
		"a frame is under way": {func(p *pair) {
			p.origin.send(partOfText)
			p.expect(partOfText, "")
			p.joint.Leave()
			p.expect("", masked)
			time.Sleep(20 * time.Second)
			p.origin.send("llo" + hello) // The end of the frame is waited for; the next one is not.
			p.expect("llo"+goingAway, "")
			p.client.send(answerUp)
			p.origin.send(answer)
		}, 20 * time.Second},
		"a frame is never finished": {func(p *pair) {
			p.client.send("\x81\x85\x00\x00")
			p.expect("", "\x81\x85\x00\x00")
			p.joint.Leave()
			p.expect(goingAway, "")
			p.origin.send(answer)
		}, stuck},
		"the origin has said goodbye": {func(p *pair) {
			p.origin.send(answer)
			p.expect(answer, "")
			p.joint.Leave()
			p.expect("", masked)
			p.client.send(answerUp)
		}, 0},
		"the origin leaves": {func(p *pair) {
			p.joint.Leave()
			p.expect(goingAway, masked)
			p.origin.send(answer)
			p.origin.end(io.EOF)
			p.client.send(answerUp)
		}, 0},
		"no frames at all": {func(p *pair) { // What has this length is no frame; nothing is put into it.
			p.origin.send("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff")
			p.expect("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "")
			p.joint.Leave()
			p.origin.send("more")
			p.expect("more", masked)
			p.client.send(answerUp)
		}, stuck},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := run(t, true)
			test.talk(p)
			if test.takes > time.Since(p.began) && p.over() {
				t.Errorf("%s: it is over too early", name)
			}
			<-p.done
			if took := time.Since(p.began); took != test.takes {
				t.Errorf("%s: it took %v, not %v", name, took, test.takes)
			}
			if t.Failed() {
				t.Log(name)
			}
		})
	}
}

// What is no WebSocket goes on as long as it is let.
func TestLeaveOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := run(t, false)
		p.joint.Leave()
		p.client.send("up")
		p.origin.send("down")
		p.expect("down", "up")
		p.client.end(io.EOF)
		p.origin.end(io.EOF)
		<-p.done
	})
}

// Leave does not wait for a side that takes nothing.
func TestLeaveWhileWriting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := run(t, true)
		p.client.stuck = make(chan struct{})
		p.origin.send(hello)
		synctest.Wait()
		p.joint.Leave()
		p.expect("", masked)
		close(p.client.stuck)
		p.expect(hello+goingAway, "")
		p.client.send(answerUp)
		p.origin.send(answer)
		<-p.done
	})
}
