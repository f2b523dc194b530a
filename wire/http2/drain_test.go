package http2

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// A drain happens in two steps, and what was sent between them is served.
func TestDrainInTwoSteps(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{DrainTimeout: time.Hour}, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
	p.until("end 1")
	g.server.Drain()
	first := readGoAway(p)
	if first.last != maxStreamID || first.code != NoError {
		t.Fatalf("first step: %+v", first)
	}
	p.until("asked " + drainPing)
	p.send(getFrame(3, "/"))
	p.until("end 3")
	p.send(frame(framePing, flagAck, 0, drainPing), getFrame(5, "/"))
	second := readGoAway(p)
	if second.last != 3 || second.code != NoError {
		t.Fatalf("second step: %+v", second)
	}
	if said := p.until("closed"); said != "closed" || p.status[5] != "" {
		t.Errorf("a stream above the last one was answered: %v", p.status)
	}
}

type goAway struct {
	last uint32
	code ErrCode
}

func readGoAway(p *rawPeer) goAway {
	p.t.Helper()
	for {
		f, err := p.read()
		if err != nil {
			p.t.Fatal(err)
		}
		if f.kind == frameGoAway {
			return goAway{frameHeader{id: parseFrameHeader(append(make([]byte, 5), f.payload[:4]...)).id}.id, ErrCode(f.payload[7])}
		}
	}
}

// A client that does not answer is not waited for.
func TestDrainWithoutAnswer(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{DrainTimeout: 20 * time.Millisecond, HeadTimeout: 20 * time.Millisecond}, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting)
	p.until("ack")
	g.server.Drain()
	p.until("goaway NO_ERROR")
	p.until("goaway NO_ERROR")
	p.until("closed")
}

// Exchanges that are there are brought to their end, whatever their length.
func TestDrainWaitsForExchanges(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		close(begun)
		<-end
		_ = say(x, 200, strings.Repeat("x", 30_000))
	}))
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
	<-begun
	g.server.Drain()
	p.until("asked " + drainPing)
	p.send(frame(framePing, flagAck, 0, drainPing))
	p.until("goaway NO_ERROR")
	close(end)
	p.until("end 1")
	p.until("closed")
	if p.data[1] != 30_000 {
		t.Errorf("%d bytes", p.data[1])
	}
}

// A connection that comes while the server drains is served what it sends at once.
func TestDrainBeforeTheConnection(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, conformanceHandler)
	g.server.Drain()
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
	p.until("end 1")
	p.send(frame(framePing, flagAck, 0, drainPing))
	p.until("closed")
}

// Whatever belongs to a stream that comes behind the second step is dropped, and what is under way goes on.
func TestStreamsBehindTheSecondStep(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		close(begun)
		<-end
		_ = say(x, 200, "whole")
	}))
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
	<-begun
	g.server.Drain()
	p.until("asked " + drainPing)
	p.send(frame(framePing, flagAck, 0, drainPing))
	p.until("goaway NO_ERROR")
	p.send(postFrame(3, "/"), windowFrame(3, 5), dataFrame(3, false, strings.Repeat("x", 1000)), frame(frameHeaders, endBoth, 3, field("a", "b")))
	p.send(getFrame(5, "/"), resetFrame(5, 8))
	p.alive()
	close(end)
	p.until("end 1")
	p.until("closed")
	if n := g.server.Counters.Malformed.Value(); n != 0 || len(p.status) != 1 {
		t.Errorf("%d streams were reset, answers: %v", n, p.status)
	}
}

func TestCloseCutsExchanges(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	gone := make(chan bool, 1)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		w := canceller{make(chan struct{})}
		x.Wire().Await(w)
		close(begun)
		<-w.done
		x.Wire().Arrived()
		gone <- x.Wire().Gone()
	}))
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"))
	<-begun
	g.server.Close()
	if !<-gone {
		t.Error("the client is not gone")
	}
	p.until("closed")
}

// A drain may find a connection that is on the list and has not begun: that drains itself when it does.
func TestDrainFindsAConnectionThatHasNotBegun(t *testing.T) {
	t.Parallel()
	s := NewServer("test", Limits{}, conformanceHandler)
	c := &serverConn{server: s, limits: s.limits.Load()}
	c.link.server, c.link.counters, c.link.workers = true, s.Counters, &s.workers
	c.link.init(&byteConn{}, c, c.limits.bounds())
	s.add(c)
	s.Drain()
	if c.drainStep != notDraining || len(c.link.writer.out) != 0 {
		t.Errorf("step %d, and %q before our settings", c.drainStep, c.link.writer.out)
	}
}

// What is above the last stream of a GOAWAY is sent again by the client, so it is not begun.
func TestNothingIsBegunBehindAGoAway(t *testing.T) {
	t.Parallel()
	s := NewServer("test", Limits{}, handlerFunc(func(*message.Exchange) { t.Error("it was served") }))
	c := &serverConn{server: s, limits: s.limits.Load()}
	l := &c.link
	l.server, l.counters, l.workers = true, s.Counters, &s.workers
	l.init(&byteConn{}, c, c.limits.bounds())
	l.greeted = true
	l.mu.Lock()
	l.failLocked(broken(EnhanceYourCalm, "a test"))
	l.mu.Unlock()
	get := getFrame(1, "/")
	if f := l.onFrame(parseFrameHeader([]byte(get)), []byte(get[frameHeaderLen:])); f != nil {
		t.Errorf("%+v", f)
	}
	if n := l.lastTaken; n != 0 || c.running != 0 {
		t.Errorf("stream %d was opened, %d run", n, c.running)
	}
	l.finish(nil)
}
