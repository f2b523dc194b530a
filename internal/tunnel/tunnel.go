// Package tunnel joins two connections after a 101: bytes in both directions until one of them ends.
// A WebSocket that has to end is told so, where that does not break what is under way.
package tunnel

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/websocket"
)

// Side is one of the two connections of a tunnel. Next is called by one goroutine; Write and CloseWrite
// by another, but for CloseWrite of a side of which Next has failed; Wake and Close by any.
type Side interface {
	// Next waits for bytes and returns a view of them, valid until the following call. While it
	// waits it holds no buffer. io.EOF is the clean end, after which one may still write; ErrWoken
	// is no end.
	Next() ([]byte, error)
	// Write returns when all of p was taken.
	Write(p []byte) (int, error)
	// CloseWrite says that nothing more will be written.
	CloseWrite() error
	// Wake makes a Next that waits return ErrWoken, or else the following one that would have to.
	Wake()
	// Close ends Next for good. It may be called more than once.
	Close() error
}

// ErrWoken is what Next returns after Wake.
var ErrWoken = errors.New("tunnel: woken")

// Joint joins two sides.
type Joint struct {
	client, origin Side
	up, down       way
	leaving        atomic.Bool

	mu    sync.Mutex
	told  int // directions that carry nothing more
	over  bool
	timer *time.Timer // cuts both, once it was started
}

// way is one direction. It belongs to the goroutine that copies.
type way struct {
	joint    *Joint
	from, to Side
	frames   websocket.Frames
	follows  bool // what passes is a WebSocket
	masked   bool // from a client to a server
	told     bool // a Close frame went to the other end: nothing may follow
}

// Times of leaving.
const (
	// farewell is how long both sides may take to answer to Close.
	farewell = 3 * time.Second
	// stuck is how long a frame may take that one side has begun when the other one has gone.
	stuck = 30 * time.Second
)

// New makes a joint of two sides. What passes a WebSocket is followed from frame to frame.
func New(client, origin Side, webSocket bool) *Joint {
	j := &Joint{client: client, origin: origin}
	j.up = way{joint: j, from: client, to: origin, follows: webSocket, masked: true}
	j.down = way{joint: j, from: origin, to: client, follows: webSocket}
	return j
}

// Run copies until the tunnel has ended: the origin's bytes on this goroutine, the client's on
// another, which has ended when Run returns. Both sides are closed then.
func (j *Joint) Run() {
	upDone := make(chan struct{})
	go func() {
		defer close(upDone)
		j.runUp()
	}()
	switch j.down.copy() {
	case answered:
		j.hurry(stuck)
		<-upDone
	case finished:
		// The client may still have something to say.
		if j.client.CloseWrite() == nil {
			<-upDone
		}
	}
	_ = j.client.Close()
	_ = j.origin.Close()
	<-upDone
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over = true
	if j.timer != nil {
		j.timer.Stop()
	}
}

func (j *Joint) runUp() {
	switch j.up.copy() {
	case answered:
		j.hurry(stuck)
		return
	case finished:
		if j.origin.CloseWrite() == nil {
			return
		}
	}
	_ = j.origin.Close()
}

// Leave tells both ends of a WebSocket to go away (RFC 6455 §7.4.1), each as soon as no frame is
// under way to it, and closes the tunnel when they have answered or had the time to. A
// frame that is under way is waited for. What is no WebSocket goes on. It may be called at any time, by any
// goroutine, and does not wait.
func (j *Joint) Leave() {
	if !j.up.follows || j.leaving.Swap(true) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.over { // Behind the end they may belong to somebody else.
		j.client.Wake()
		j.origin.Wake()
	}
}

// cut closes both sides.
func (j *Joint) cut() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.over {
		_ = j.origin.Close()
		_ = j.client.Close()
	}
}

// hurry cuts the tunnel after d, unless it has ended or that comes earlier.
func (j *Joint) hurry(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.over && j.timer == nil {
		j.timer = time.AfterFunc(d, j.cut)
	}
}

// oneTold notes that an end was told. When both were, they have not long.
func (j *Joint) oneTold() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.told++; j.told < 2 || j.over {
		return
	}
	if j.timer != nil {
		j.timer.Stop()
	}
	j.timer = time.AfterFunc(farewell, j.cut)
}

// ending is why copying has ended.
type ending uint8

const (
	broken   ending = iota
	finished        // the end of the stream
	answered        // who sends has said goodbye, and so have we
)

// copy copies one direction to its end.
func (w *way) copy() ending {
	for {
		p, err := w.from.Next()
		if err == nil {
			err = w.pass(p)
		}
		switch {
		case err == io.EOF:
			return finished
		case err != nil && err != ErrWoken:
			return broken
		}
		if w.joint.leaving.Load() {
			if w.tell() != nil {
				return broken
			}
			if w.told && w.frames.Closed() {
				return answered
			}
		}
	}
}

// pass passes p on.
func (w *way) pass(p []byte) error {
	if w.follows {
		if w.joint.leaving.Load() {
			return w.passLast(p)
		}
		w.frames.Pass(p)
	}
	_, err := w.to.Write(p)
	return err
}

// passLast passes the rest of a frame that is under way on. Behind it the other end is told to
// go away, and what comes then nobody waits for.
func (w *way) passLast(p []byte) error {
	if !w.told && !w.frames.Between() {
		n := w.frames.Step(p)
		if _, err := w.to.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	if err := w.tell(); err != nil {
		return err
	}
	w.frames.Pass(p)
	return nil
}

// tell tells the other end to go away, if it was not told and no frame is under way.
func (w *way) tell() error {
	if w.told || !w.frames.Between() {
		return nil
	}
	w.told = true
	w.joint.oneTold()
	if w.frames.Closed() { // This end was faster.
		return nil
	}
	var room [8]byte
	_, err := w.to.Write(websocket.AppendClose(room[:0], websocket.GoingAway, w.masked))
	return err
}
