//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// openLoop is a load with a constant rate: a request is due at its time whether or
// not the ones before it have been answered, and its latency counts from then. A
// closed loop like wrk's sends less while the proxy is slow, and so does not see
// most of the slowness.
//
// It runs on one thread with an epoll instance of its own, because Go's timers are
// too coarse: an idle Go program sleeps in steps of a millisecond.
type openLoop struct {
	address     string
	connections int
	rate        int // requests a second
	duration    time.Duration
	calls       [][]byte // sent in turn
}

// openResult is what an open loop has seen.
type openResult struct {
	latencies []time.Duration // sorted; of the good answers
	errors    int
	firstErr  error
}

// line is one connection.
type line struct {
	fd   int
	busy bool
	due  time.Duration // when the request that is under way should have been sent
	in   []byte
}

// sysEpollPwait2 is epoll_pwait2(2), which takes its time-out in nanoseconds. It has
// this number on all architectures that Go runs on but alpha.
const sysEpollPwait2 = 441

// answerLimit is when an unanswered request counts as lost.
const answerLimit = 5 * time.Second

type openRun struct {
	openLoop
	result openResult
	epoll  int
	begin  time.Time
	lines  []line
	idle   []int // indexes of the lines that are free, the one that waited longest first
}

// run blocks until the load is over.
func (o openLoop) run(ctx context.Context) (openResult, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return openResult{}, err
	}
	defer syscall.Close(epoll)
	r := &openRun{openLoop: o, epoll: epoll, lines: make([]line, o.connections)}
	defer func() {
		for i := range r.lines {
			if r.lines[i].fd > 0 {
				syscall.Close(r.lines[i].fd)
			}
		}
	}()
	for i := range r.lines {
		r.lines[i].in = make([]byte, 0, 16<<10)
		if err := r.connect(i); err != nil {
			return openResult{}, err
		}
		r.idle = append(r.idle, i)
	}
	total := int(o.duration.Seconds() * float64(o.rate))
	r.result.latencies = make([]time.Duration, 0, total)
	if err := r.loop(ctx, total); err != nil {
		return r.result, err
	}
	slices.Sort(r.result.latencies)
	return r.result, nil
}

func (r *openRun) loop(ctx context.Context, total int) error {
	interval := time.Second / time.Duration(r.rate)
	events := make([]syscall.EpollEvent, r.connections)
	r.begin = time.Now()
	sent := 0
	for {
		now := time.Since(r.begin)
		for sent < total && len(r.idle) > 0 && time.Duration(sent)*interval <= now {
			r.send(time.Duration(sent)*interval, r.calls[sent%len(r.calls)])
			sent++
		}
		if sent == total && len(r.idle) == r.connections {
			return nil
		}
		wait := 100 * time.Millisecond
		if sent < total && len(r.idle) > 0 {
			wait = min(wait, max(0, time.Duration(sent)*interval-time.Since(r.begin)))
		}
		n, err := epollWait(r.epoll, events, wait)
		if err != nil {
			return err
		}
		for _, event := range events[:n] {
			r.receive(int(event.Fd))
		}
		if n == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.giveUp()
		}
	}
}

func epollWait(epoll int, events []syscall.EpollEvent, wait time.Duration) (int, error) {
	limit := syscall.NsecToTimespec(int64(wait))
	n, _, errno := syscall.Syscall6(sysEpollPwait2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&limit)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case syscall.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}

func (r *openRun) connect(i int) error {
	address, err := netip.ParseAddrPort(r.address)
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = errors.Join(
		syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		syscall.SetNonblock(fd, true),
		// Fd carries the index: it is ours to choose.
		syscall.EpollCtl(r.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}),
	)
	if err != nil {
		syscall.Close(fd)
		return err
	}
	r.lines[i].fd = fd
	r.lines[i].in = r.lines[i].in[:0]
	return nil
}

func (r *openRun) send(due time.Duration, call []byte) {
	i := r.idle[0]
	r.idle = append(r.idle[:0], r.idle[1:]...)
	l := &r.lines[i]
	l.busy, l.due = true, due
	if _, err := syscall.Write(l.fd, call); err != nil {
		r.fail(i, err)
	}
}

// receive reads what there is on a line, and ends the exchange if that is all.
func (r *openRun) receive(i int) {
	l := &r.lines[i]
	if len(l.in) == cap(l.in) {
		r.fail(i, errors.New("an answer is too long"))
		return
	}
	n, err := syscall.Read(l.fd, l.in[len(l.in):cap(l.in)])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return
	case err != nil:
		r.fail(i, err)
		return
	case n == 0:
		r.fail(i, errors.New("the connection was closed"))
		return
	}
	l.in = l.in[:len(l.in)+n]
	a, err := parseAnswer(l.in)
	switch {
	case err != nil:
		r.fail(i, err)
	case !a.complete:
	case a.status/100 != 2:
		r.fail(i, fmt.Errorf("status %d", a.status))
	case !l.busy:
		r.fail(i, errors.New("an answer to nothing"))
	default:
		r.result.latencies = append(r.result.latencies, time.Since(r.begin)-l.due)
		l.busy = false
		l.in = l.in[:0]
		if a.last {
			r.reconnect(i)
		}
		r.idle = append(r.idle, i)
	}
}

// fail counts an error and begins the line anew. An idle line that the proxy
// closes is no error.
func (r *openRun) fail(i int, err error) {
	if r.lines[i].busy {
		r.lines[i].busy = false
		r.result.errors++
		if r.result.firstErr == nil {
			r.result.firstErr = err
		}
		r.idle = append(r.idle, i)
	}
	r.reconnect(i)
}

func (r *openRun) reconnect(i int) {
	syscall.Close(r.lines[i].fd)
	r.lines[i].fd = 0
	if err := r.connect(i); err != nil {
		r.result.errors++
		r.result.firstErr = err
	}
}

// giveUp fails the requests that have waited for too long.
func (r *openRun) giveUp() {
	now := time.Since(r.begin)
	for i := range r.lines {
		if r.lines[i].busy && now-r.lines[i].due > answerLimit {
			r.fail(i, errors.New("no answer"))
		}
	}
}

// answer is what parseAnswer has found.
type answer struct {
	complete bool
	status   int
	last     bool // the connection is closed after it
}

// parseAnswer looks whether a whole answer is there. It knows answers with a
// Content-Length only: what the origin here sends.
func parseAnswer(in []byte) (answer, error) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return answer{}, nil
	}
	lines := bytes.Split(in[:end], []byte("\r\n"))
	first := bytes.Fields(lines[0])
	if len(first) < 2 || !bytes.HasPrefix(first[0], []byte("HTTP/1.")) {
		return answer{}, fmt.Errorf("no status line: %q", lines[0])
	}
	status, err := strconv.Atoi(string(first[1]))
	if err != nil {
		return answer{}, fmt.Errorf("no status line: %q", lines[0])
	}
	a := answer{status: status}
	length := -1
	for _, field := range lines[1:] {
		name, value, _ := bytes.Cut(field, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return answer{}, fmt.Errorf("content-length %q", value)
			}
		case bytes.EqualFold(name, []byte("connection")):
			a.last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return answer{}, errors.New("an answer without content-length")
	}
	a.complete = len(in) >= end+4+length
	if len(in) > end+4+length {
		return answer{}, errors.New("more than an answer")
	}
	return a, nil
}
