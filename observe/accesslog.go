package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
)

const (
	// logShards is a power of two: connections spread over so many buffers.
	logShards = 8
	// logBuffer is how many bytes a shard gathers before it hands them over.
	logBuffer = 64 << 10
	// logQueue is how many such buffers may wait to be written: 8 MiB. What comes
	// when they are full is dropped and counted.
	logQueue = 128
	// logFlush is the longest time that a line waits in a buffer.
	logFlush = 500 * time.Millisecond
	// logMode is the mode of a new log file: lines name clients, so not everybody
	// may read them.
	logMode = 0o640
)

// AccessLog writes one line of JSON for each exchange. Lines are gathered in
// memory and written by one goroutine, 500 ms later at the latest, so no exchange
// ever waits for a disk or a pipe; lines of different connections may stand out of
// order. A nil AccessLog writes nothing.
type AccessLog struct {
	shards  [logShards]logShard
	full    chan []byte // handed over, to be written
	free    chan []byte // written, to be filled
	reopen  chan chan error
	stop    chan struct{}
	stopped sync.Once
	done    chan struct{} // closed when the writer has ended

	lines      *meter.Counter
	queueFull  *meter.Counter
	writeError *meter.Counter

	// What follows belongs to the writer's goroutine.
	out    io.WriteCloser
	open   func() (io.WriteCloser, error) // nil where there is nothing to reopen
	logger *slog.Logger
	errors LogLimiter
	torn   bool // the last write ended inside a line
}

// logShard is the buffer of some connections.
type logShard struct {
	mu     sync.Mutex
	buf    []byte
	clock  clock
	closed bool
	_      [64]byte // The next shard's lock stands on another cache line.
}

// OpenAccessLog starts an access log. output is "stdout", "stderr" or the path of
// a file, to which is appended and which is made with mode 0640 if it is not there.
// A named pipe must have a reader. The logger is told about failed writes, at most
// once a second.
func OpenAccessLog(output string, r *Registry, logger *slog.Logger) (*AccessLog, error) {
	switch output {
	case "":
		return nil, errors.New("observe: opening the access log: no output is given; it is stdout, stderr or the path of a file")
	case "stdout":
		return newAccessLog(standard{os.Stdout}, nil, r, logger), nil
	case "stderr":
		return newAccessLog(standard{os.Stderr}, nil, r, logger), nil
	}
	// Without O_NONBLOCK opening a pipe that nobody reads would hang.
	open := func() (io.WriteCloser, error) {
		return os.OpenFile(output, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, logMode)
	}
	out, err := open()
	if err != nil {
		return nil, fmt.Errorf("observe: opening the access log: %w", err)
	}
	return newAccessLog(out, open, r, logger), nil
}

// standard is an output that belongs to the process and stays open.
type standard struct{ io.Writer }

func (standard) Close() error { return nil }

func newAccessLog(out io.WriteCloser, open func() (io.WriteCloser, error), r *Registry, logger *slog.Logger) *AccessLog {
	l := &AccessLog{
		full:       make(chan []byte, logQueue),
		free:       make(chan []byte, logQueue),
		reopen:     make(chan chan error),
		stop:       make(chan struct{}),
		done:       make(chan struct{}),
		lines:      r.counter(&accessLogLines),
		queueFull:  r.counter(&accessLogDropped, "queue_full"),
		writeError: r.counter(&accessLogDropped, "write_error"),
		out:        out,
		open:       open,
		logger:     logger,
	}
	go l.run()
	return l
}

// Log adds the line of an exchange that is over. The engine calls it once, when
// x.Times.Done is set, on the goroutine that owns x. It does no I/O: where the log
// cannot be written fast enough, the line is dropped and counted.
func (l *AccessLog) Log(x *message.Exchange) {
	if l == nil {
		return
	}
	s := &l.shards[x.Shard%logShards]
	s.mu.Lock()
	if s.closed || len(s.buf) >= logBuffer && !l.handOver(s) {
		s.mu.Unlock()
		l.queueFull.Add(x.Shard, 1)
		return
	}
	if s.buf == nil {
		s.buf = l.buffer()
	}
	s.buf = appendLine(s.buf, x, &s.clock)
	if len(s.buf) >= logBuffer {
		l.handOver(s)
	}
	s.mu.Unlock()
}

// handOver gives a shard's buffer to the writer, if there is room; the shard is
// locked.
func (l *AccessLog) handOver(s *logShard) bool {
	select {
	case l.full <- s.buf:
		s.buf = nil
		return true
	default:
		return false
	}
}

// buffer returns an empty buffer.
func (l *AccessLog) buffer() []byte {
	select {
	case buf := <-l.free:
		return buf[:0]
	default:
		return make([]byte, 0, logBuffer+4<<10)
	}
}

// Reopen writes out what was logged before, closes the file and opens it again by
// its name. It is called when a tool that rotates logs has moved the file away. On
// an error the old file stays in use. For stdout and stderr it only writes out. It
// waits for the writer, no longer than ctx says.
func (l *AccessLog) Reopen(ctx context.Context) error {
	if l == nil {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case l.reopen <- answer:
	case <-l.done:
		return errors.New("observe: reopening the access log: it is closed")
	case <-ctx.Done():
		return fmt.Errorf("observe: reopening the access log: the output is blocked: %w", ctx.Err())
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("observe: reopening the access log: the output is blocked: %w", ctx.Err())
	}
}

// Close writes out what was logged and closes the file. Lines that are logged
// later are dropped. It waits for the writer, no longer than ctx says: an output
// that is blocked must not keep the process alive.
func (l *AccessLog) Close(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.stopped.Do(func() { close(l.stop) })
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("observe: closing the access log: the output is blocked: %w", ctx.Err())
	}
}

// run is the writer.
func (l *AccessLog) run() {
	defer close(l.done)
	ticker := time.NewTicker(logFlush)
	defer ticker.Stop()
	for {
		select {
		case buf := <-l.full:
			l.write(buf)
		case <-ticker.C:
			l.flush(false)
		case answer := <-l.reopen:
			l.flush(false)
			answer <- l.renew()
		case <-l.stop:
			l.flush(true)
			if err := l.out.Close(); err != nil {
				l.logger.Error("access log not closed", slog.Any("error", err))
			}
			return
		}
	}
}

// flush writes out what all shards have gathered; with last they take no more.
func (l *AccessLog) flush(last bool) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		buf := s.buf
		s.buf = nil
		s.closed = s.closed || last
		// What this shard handed over before comes first, or its lines would be out
		// of order. Nobody but this goroutine takes buffers out of the channel.
		waiting := len(l.full)
		s.mu.Unlock()
		for range waiting {
			l.write(<-l.full)
		}
		if buf != nil {
			l.write(buf)
		}
	}
}

// write writes a buffer and takes it back.
func (l *AccessLog) write(buf []byte) {
	if l.torn {
		// What was cut off stays a line of its own and spoils no other.
		if _, err := l.out.Write([]byte{'\n'}); err == nil {
			l.torn = false
		}
	}
	n, err := l.out.Write(buf)
	lost := 0
	if err != nil {
		lost = bytes.Count(buf[n:], []byte{'\n'})
		l.torn = l.torn || n > 0 && buf[n-1] != '\n'
		l.writeError.Add(0, int64(lost))
		l.complain(err)
	}
	l.lines.Add(0, int64(bytes.Count(buf, []byte{'\n'})-lost))
	if cap(buf) > 2*logBuffer {
		return
	}
	select {
	case l.free <- buf:
	default:
	}
}

// complain logs that the access log cannot be written.
func (l *AccessLog) complain(err error) {
	if _, ok := l.errors.Allow("write", time.Now().UnixNano()); ok {
		l.logger.Error("access log not written", slog.Any("error", err), slog.Int64("lines_lost", l.writeError.Value()))
	}
}

// renew replaces the file by the one that has its name now.
func (l *AccessLog) renew() error {
	if l.open == nil {
		return nil
	}
	out, err := l.open()
	if err != nil {
		return fmt.Errorf("observe: reopening the access log: %w", err)
	}
	old := l.out
	l.out, l.torn = out, false
	if err := old.Close(); err != nil {
		return fmt.Errorf("observe: closing the access log that was moved away: %w", err)
	}
	return nil
}
