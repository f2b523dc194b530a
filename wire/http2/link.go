package http2

import (
	"math"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/internal/headerblock"
	"github.com/sluice-gateway/sluice/internal/workers"
)

// link is one HTTP/2 connection, whichever end of it we are. One goroutine reads; another
// one writes whatever the streams have put into out, all at once.
//
// Everything behind mu is shared by those two and the goroutines of the streams.
// The lock is never held across I/O, and nothing of an exchange is called with
// it.
type link struct {
	nc       net.Conn
	end      end
	server   bool // we are the server's end
	bounds   bounds
	counters *Counters
	workers  *workers.Pool
	shard    uint32

	reader reader

	mu      sync.Mutex
	changed sync.Cond // for who waits for the end of the connection
	streams map[uint32]*stream
	open    int // streams that count against the limit
	encoder headerblock.Encoder
	peer    settings
	greeted bool // the peer's first SETTINGS have come
	foreign bool // what has come in their place is HTTP/1
	floods  floods
	writer  writer

	sendWindow int64 // of the connection
	leastUsed  int64 // no stream.sendUsed is below this
	recvWindow int64
	recvCredit int64 // taken by streams, and not given back yet
	tight      int   // streams that wait for the window of the connection

	closed    bool   // nothing more is sent or received
	failing   bool   // a GOAWAY with an error is on its way: nothing more is sent behind it
	ended     recent // streams that have ended
	lastTaken uint32 // the peer's last stream that we have begun, for GOAWAY; a server pushes none

	ticker    *time.Timer
	largeHeld bool  // the reader waits with a large buffer
	nudged    bool  // it was woken to give it back
	tickAt    int64 // clock of the ticker's next tick
	far       bool  // the ticker sleeps for long, because there are no streams
	idleFrom  int64 // clock since which there are none; 0 is unknown
	partFrom  atomic.Int64
	lastRead  atomic.Int64 // clock
}

// end is what a client's and a server's end do differently. Its methods are called on the
// reading goroutine, without the lock.
type end interface {
	// onHead takes a complete header block. It decodes it in any case, because the blocks
	// behind it depend on it.
	onHead(id uint32, block []byte, endStream bool) *fault
	// idle says whether a stream was never opened.
	idle(id uint32) bool
	onGoAway(last uint32, code ErrCode)
	onSettings() // they are in force
	onPong(data []byte)
	// onTick looks at what has taken too long, and says whether it has to look again soon; with
	// the lock.
	onTick(now int64) (soon bool)
}

// clockStart makes clock small and monotonic.
var clockStart = time.Now()

// clock is the time in nanoseconds, never 0 and never going back.
func clock() int64 { return int64(time.Since(clockStart)) + 1 }

// clockOf is clock for a moment that is known.
func clockOf(t time.Time) int64 { return int64(t.Sub(clockStart)) + 1 }

func (l *link) init(nc net.Conn, e end, b bounds) {
	l.nc, l.end, l.bounds = nc, e, b
	l.changed.L = &l.mu
	l.streams = make(map[uint32]*stream)
	l.encoder.Init()
	l.peer = firstSettings()
	l.sendWindow, l.recvWindow = firstWindow, b.connectionWindow
	now := clock()
	l.floods.init(&b.floods, now)
	l.lastRead.Store(now)
	l.idleFrom = now
	l.writer.link = l
	l.reader.decoder = hpack.NewDecoder(headerblock.TableSize, nil)
	l.reader.decoder.SetEmitFunc(l.reader.takeField)
}

// startTicker makes the link look at its timeouts from now on.
func (l *link) startTicker() {
	l.mu.Lock()
	every := l.tickEvery()
	l.tickAt = clock() + int64(every)
	l.ticker = time.AfterFunc(every, l.tick)
	l.mu.Unlock()
}

// tickEvery is how exact timeouts are: a quarter of the shortest.
func (l *link) tickEvery() time.Duration {
	shortest := 4 * time.Second
	for _, d := range [...]time.Duration{l.bounds.preface, l.bounds.head, l.bounds.body, l.bounds.write} {
		shortest = min(shortest, d)
	}
	for _, d := range [...]time.Duration{l.bounds.idle, l.bounds.ping} {
		if d > 0 {
			shortest = min(shortest, d)
		}
	}
	return max(shortest/4, 2*time.Millisecond)
}

// tick wakes whoever has waited for too long. It runs on a goroutine of its own.
func (l *link) tick() {
	now := clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	nearest := int64(math.MaxInt64)
	for _, s := range l.streams {
		if s.deadline != 0 && s.deadline <= now {
			s.client.expire()
		} else if s.deadline != 0 {
			nearest = min(nearest, s.deadline)
		}
		if s.lingerBy != 0 && s.lingerBy <= now {
			s.stop(NoError)
		}
		if s.sendBy != 0 && s.sendBy <= now {
			s.sendLate = true
			s.cond.Broadcast()
		}
		if s.recvBy != 0 && s.recvBy <= now {
			s.recvLate = true
			s.cond.Broadcast()
		}
	}
	part := l.partFrom.Load()
	if part != 0 && now-part > int64(l.bounds.head) {
		l.failLocked(broken(EnhanceYourCalm, "a frame or a head took too long to arrive"))
	}
	if len(l.streams) > 0 {
		l.idleFrom = 0
	} else if l.idleFrom == 0 {
		l.idleFrom = now
	}
	if len(l.streams) == 0 && l.largeHeld && !l.failing && !l.reader.leaving {
		l.largeHeld, l.nudged = false, true // The reader waits with a large buffer and nothing to read.
		_ = l.nc.SetReadDeadline(time.Unix(1, 0))
	}
	soon := l.end.onTick(now)
	next := l.tickEvery()
	if !soon && l.idleFrom != 0 && part == 0 && l.bounds.idle > 0 {
		l.far = true
		next = max(next, l.bounds.idle-time.Duration(now-l.idleFrom))
	}
	l.tickIn(min(next, max(time.Duration(nearest-now), shortestTick)))
}

// shortestTick bounds how often a link with many deadlines is looked at.
const shortestTick = 500 * time.Microsecond

func (l *link) tickIn(d time.Duration) {
	l.tickAt = clock() + int64(d)
	l.ticker.Reset(d)
}

// tickBy makes the ticker tick no later than at a moment, for a deadline.
func (l *link) tickBy(at int64) {
	if at < l.tickAt {
		l.tickIn(time.Duration(max(at-clock(), 0)))
	}
}

// near makes the ticker tick often again, because there is something to look at.
func (l *link) near() {
	if l.far {
		l.far = false
		l.tickIn(min(l.tickEvery(), time.Duration(max(l.tickAt-clock(), 0))))
	}
}

// writer writes what is in out. It is a job: between two writes it needs no goroutine.
type writer struct {
	link    *link
	out     []byte
	buffer  *outBuffer // out's memory, if it is from the pool
	control int        // control frames in out
	running bool
	swaps   uint64 // how often out was taken: bytes in it can be changed until then
	by      int64  // the deadline in force
	err     error

	queueHead, lastQueued *stream // those that wait for room in out
}

// outBuffer is what a connection collects in.
type outBuffer [outSize]byte

const (
	outSize = 32 << 10
	// queueLimit is how many bytes may wait to be written before streams wait for room; control
	// frames, and the last thing that each stream says, come on top.
	queueLimit = 128 << 10
	// keepLimit is how large a buffer may be to be used again while the link is busy.
	keepLimit = queueLimit + 64<<10
)

var outBuffers = sync.Pool{New: func() any { return new(outBuffer) }}

// open returns out to append to. Everything is sent in the order in which it was
// appended.
func (w *writer) open() []byte {
	if w.out == nil {
		w.buffer = outBuffers.Get().(*outBuffer)
		w.out = w.buffer[:0]
	}
	return w.out
}

// kick sees to it that out will be written; the lock is held.
func (l *link) kick() {
	w := &l.writer
	if !w.running && len(w.out) > 0 {
		w.running = true
		l.workers.Do(w)
	}
}

// Run implements workers.Job.
func (w *writer) Run() {
	l := w.link
	// Those that can run now have something to say as well: one call for all of them.
	runtime.Gosched()
	l.mu.Lock()
	var spare []byte
	var spareBuffer *outBuffer
	for len(w.out) > 0 && w.err == nil {
		full, buffer := w.out, w.buffer
		w.out, w.buffer = spare, spareBuffer
		spare, spareBuffer = nil, nil
		w.control = 0
		w.swaps++
		l.wakeQueued()
		l.mu.Unlock()
		w.allow()
		_, err := l.nc.Write(full)
		l.mu.Lock()
		if err != nil {
			w.err = err
			l.changed.Broadcast()
			_ = l.nc.Close() // The reader notices.
		}
		if cap(full) <= keepLimit {
			spare, spareBuffer = full[:0], buffer
		} else {
			giveOut(buffer)
		}
	}
	if len(w.out) == 0 || w.err != nil {
		giveOut(w.buffer)
		w.out, w.buffer = nil, nil
	}
	giveOut(spareBuffer)
	w.running = false
	l.changed.Broadcast()
	l.mu.Unlock()
}

func giveOut(b *outBuffer) {
	if b != nil {
		outBuffers.Put(b)
	}
}

// allow moves the deadline of writes, when it would come too near.
func (w *writer) allow() {
	now, timeout := clock(), int64(w.link.bounds.write)
	if left := w.by - now; left >= timeout && left <= timeout+timeout/2 {
		return
	}
	w.by = now + timeout + timeout/4
	_ = w.link.nc.SetWriteDeadline(clockStart.Add(time.Duration(w.by)))
}

// wakeQueued wakes the streams that wait for room in out.
func (l *link) wakeQueued() {
	for s := l.writer.firstQueued(); s != nil; s = l.writer.firstQueued() {
		s.leaveQueue()
		s.cond.Broadcast()
	}
}

// countControl counts a frame that the peer made us send.
func (l *link) countControl() *fault {
	if l.writer.control++; l.writer.control > l.bounds.floods.Queue {
		return l.flood(FloodQueue, "the answers to control frames are not read")
	}
	return nil
}

// flood is the fault of who does too much of something.
func (l *link) flood(kind Flood, why string) *fault {
	l.counters.Floods[kind].Add(l.shard, 1)
	return broken(EnhanceYourCalm, why)
}

// spend takes one from a budget.
func (l *link) spend(kind Flood) *fault {
	if l.floods.spend(kind) {
		return nil
	}
	return l.flood(kind, "too many frames: "+kind.String())
}

// spendLate counts a frame that was under way when its stream ended.
func (l *link) spendLate() *fault {
	if l.floods.late > 0 {
		l.floods.late--
		return nil
	}
	return l.spend(FloodUnknown)
}

// credit gives window of the connection back to the peer, when it is worth a frame.
func (l *link) credit(n int64) {
	l.recvCredit += n
	if l.recvCredit < l.bounds.connectionWindow/4 || l.closed || l.failing {
		return
	}
	l.writer.out = appendWindowUpdate(l.writer.open(), 0, l.recvCredit)
	l.recvWindow += l.recvCredit
	l.recvCredit = 0
	l.kick()
}

// failLocked ends the connection: a GOAWAY is the last thing that is sent. The
// reader sees to the rest.
func (l *link) failLocked(f *fault) {
	if l.closed || l.failing {
		return
	}
	if f.code != NoError {
		l.counters.Errors.Add(l.shard, 1)
	}
	l.failing = true
	l.writer.out = appendGoAway(l.writer.open(), l.lastTaken, f.code, f.why)
	l.kick()
	for _, s := range l.streams {
		s.lose()
	}
	_ = l.nc.SetReadDeadline(time.Unix(1, 0))
}

// finish ends a connection whose reader has stopped, because of f or, without one, because the
// peer has left or we may leave. It returns when nobody uses the link any more.
func (l *link) finish(f *fault) {
	l.mu.Lock()
	if f != nil {
		l.failLocked(f)
	}
	polite := l.failing || l.leavingLocked()
	if polite {
		l.kick()
		for l.writer.running && l.writer.err == nil {
			l.changed.Wait()
		}
	}
	l.closed = true
	for _, s := range l.streams {
		s.lose()
	}
	if l.ticker != nil {
		l.ticker.Stop()
	}
	failed := l.writer.err != nil
	l.changed.Broadcast() // Who waits for the peer's settings need not wait any more.
	l.mu.Unlock()
	if polite && !failed {
		l.linger()
	}
	_ = l.nc.Close()
	l.cancelWaits()
	l.mu.Lock()
	for l.writer.running {
		l.changed.Wait()
	}
	l.mu.Unlock()
	l.reader.release()
}

// cancelWaits ends what the exchanges wait for elsewhere.
func (l *link) cancelWaits() {
	l.mu.Lock()
	all := make([]*stream, 0, len(l.streams))
	for _, s := range l.streams {
		all = append(all, s)
	}
	l.mu.Unlock()
	for _, s := range all {
		s.cancelWait() // One that was reused meanwhile has a client that is not gone.
	}
}

// leavingLocked says whether the reader has stopped because we are done.
func (l *link) leavingLocked() bool { return l.reader.leaving }

// What may still arrive after our last word.
const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// linger drops what the peer still sends, for a short while: closing a socket with
// unread bytes makes the kernel send a reset, which may overtake our last frame.
func (l *link) linger() {
	type halfCloser interface{ CloseWrite() error }
	hc, ok := l.nc.(halfCloser)
	if !ok || hc.CloseWrite() != nil {
		return
	}
	_ = l.nc.SetReadDeadline(time.Now().Add(lingerTime))
	for dropped := 0; dropped < lingerBytes; {
		n, err := l.nc.Read(l.reader.buf)
		if err != nil {
			return
		}
		dropped += n
	}
}

// recent remembers the streams that have ended lately, and how: frames that were under way
// when we reset one are no fault. Guarded by the lock of the link.
type recent struct {
	ring [128]endedStream
	at   int
}

type endedStream struct {
	id      uint32
	byReset bool // we have reset it
}

func (r *recent) add(id uint32, byReset bool) {
	r.ring[r.at] = endedStream{id, byReset}
	r.at = (r.at + 1) % len(r.ring)
}

func (r *recent) find(id uint32) (e endedStream, ok bool) {
	for i := range r.ring {
		if r.ring[i].id == id {
			return r.ring[i], true
		}
	}
	return e, false
}
