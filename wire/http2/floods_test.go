package http2

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// quickLimits are small, so that a test need not send much.
var quickLimits = Limits{Streams: 8, Floods: Floods{
	Resets: 20, EmptyData: 10, Pings: 10, Settings: 5, Priorities: 10, WindowUpdates: 30, Unknown: 30, Queue: 50,
}}

// Each flood ends its connection with ENHANCE_YOUR_CALM and is counted; what stays below the limit
// is served.
func TestFloods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kind  Flood
		first string
		each  func(i int) string
		times int // that are too many
	}{
		{"reset of streams that wait", FloodReset, "", func(i int) string {
			id := uint32(2*i + 1)
			return getFrame(id, "/wait") + resetFrame(id, 8)
		}, 200},
		{"streams above the limit", FloodReset, "", func(i int) string { return getFrame(uint32(2*i+1), "/wait") }, 40},
		{"streams that we have to reset", FloodReset, "", func(i int) string {
			id := uint32(2*i + 1)
			return getFrame(id, "/wait") + windowFrame(id, 0)
		}, 40},
		{"streams that are malformed", FloodReset, "", func(i int) string { return getFrame(uint32(2*i+1), "no slash") }, 40},
		{"CONTINUATION without content", FloodContinuation, frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")),
			func(int) string { return frame(frameContinuation, 0, 1, "") }, 40},
		{"CONTINUATION with much", FloodContinuation, frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")),
			func(int) string { return frame(frameContinuation, 0, 1, strings.Repeat("\x00\x01a\x01b", 2000)) }, 15},
		{"empty DATA", FloodEmptyData, postFrame(1, "/wait"), func(int) string { return dataFrame(1, false, "") }, 20},
		{"padding without data", FloodEmptyData, postFrame(1, "/wait"), func(int) string { return frame(frameData, flagPadded, 1, "\x01\x00") }, 20},
		{"PING", FloodPing, "", func(int) string { return frame(framePing, 0, 0, "12345678") }, 20},
		{"SETTINGS", FloodSettings, "", func(int) string { return emptySettings }, 20},
		{"SETTINGS that change the windows", FloodSettings, getFrame(1, "/wait"), func(i int) string { return settingFrame(settingWindow, uint32(i)) }, 20},
		{"SETTINGS with many settings", FloodSettings, "", func(int) string {
			return frame(frameSettings, 0, 0, strings.Repeat("\x00\xff\x00\x00\x00\x00", 100))
		}, 1},
		{"acknowledgements of SETTINGS", FloodSettings, "", func(int) string { return frame(frameSettings, flagAck, 0, "") }, 20},
		{"PRIORITY", FloodPriority, "", func(int) string { return frame(framePriority, 0, 1, "\x00\x00\x00\x00\x0a") }, 20},
		{"PRIORITY_UPDATE", FloodPriority, "", func(int) string { return frame(framePriorityUpdate, 0, 0, u32(1)+"u=1") }, 20},
		{"WINDOW_UPDATE of the connection", FloodWindowUpdate, "", func(int) string { return windowFrame(0, 1) }, 60},
		{"WINDOW_UPDATE of a stream", FloodWindowUpdate, getFrame(1, "/wait"), func(int) string { return windowFrame(1, 1) }, 60},
		{"frames of unknown kinds", FloodUnknown, "", func(int) string { return frame(0x77, 0, 0, "") }, 60},
		{"GOAWAY", FloodUnknown, "", func(int) string { return frame(frameGoAway, 0, 0, u32(0)+u32(0)) }, 60},
		{"RST_STREAM of streams that have ended", FloodUnknown, getFrame(1, "/wait") + resetFrame(1, 8), func(int) string { return resetFrame(1, 8) }, 60},
		{"answers to PING that nobody asked for", FloodUnknown, "", func(int) string { return frame(framePing, flagAck, 0, "12345678") }, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, quickLimits, conformanceHandler)
			p := dialRaw(t, g.address()).send(greeting, c.first)
			var all strings.Builder
			for i := range c.times {
				all.WriteString(c.each(i))
			}
			go p.send(all.String())
			for said := ""; ; {
				if said = p.next(); strings.HasPrefix(said, "goaway") {
					if said != "goaway ENHANCE_YOUR_CALM" {
						t.Errorf("got %q", said)
					}
					break
				}
				if said == "closed" {
					t.Fatal("the connection ended without a word")
				}
			}
			p.until("closed")
			if n := g.server.Counters.Floods[c.kind].Value(); n != 1 {
				t.Errorf("%v was counted %d times", c.kind, n)
			}
		})
	}
}

// Budgets are for what is of no use: who uses a connection fills them again.
func TestUseFillsBudgets(t *testing.T) {
	t.Parallel()
	g := serve(t, quickLimits, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting)
	for i := range uint32(100) {
		id := 2*i + 1
		p.send(getFrame(id, "/"), windowFrame(0, 5), frame(framePriorityUpdate, 0, 0, u32(id)+"u=1"))
		p.until("end " + itoa(id))
	}
	p.alive()
}

// Implementations of gRPC measure their bandwidth with a PING for each DATA frame that comes.
func TestPingForEachDataFrame(t *testing.T) {
	t.Parallel()
	g := serve(t, quickLimits, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting)
	for i := range uint32(100) {
		id := 2*i + 1
		p.send(getFrame(id, "/"))
		p.until("end " + itoa(id))
		p.send(frame(framePing, 0, 0, "12345678"))
	}
	p.alive()
}

func itoa(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// A stream that its client has reset counts until its goroutine has ended.
func TestResetStreamsCountWhileTheyRun(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	running := make(chan struct{}, 10)
	g := serve(t, Limits{Streams: 2}, handlerFunc(func(x *message.Exchange) {
		running <- struct{}{}
		<-hold
		x.Wire().Abort()
	}))
	p := dialRaw(t, g.address()).send(greeting, getFrame(1, "/"), resetFrame(1, 8), getFrame(3, "/"), resetFrame(3, 8))
	<-running
	<-running
	p.send(getFrame(5, "/"))
	p.until("reset 5 REFUSED_STREAM")
	close(hold)
	if n := g.server.Counters.Refused.Value(); n != 1 {
		t.Errorf("%d refused", n)
	}
	if n := g.server.Counters.Malformed.Value(); n != 0 {
		t.Errorf("%d malformed: each stream is counted once", n)
	}
	if n := g.server.Counters.Reset.Value(); n != 2 {
		t.Errorf("%d reset", n)
	}
}

// Answers to control frames that nobody reads are not collected without limit.
func TestUnreadAnswersAreBounded(t *testing.T) {
	t.Parallel()
	limits := Limits{Floods: Floods{Pings: 1 << 20, Queue: 100}, WriteTimeout: time.Minute}
	g := serve(t, limits, conformanceHandler)
	p := dialRaw(t, g.address()).send(greeting)
	pings := strings.Repeat(frame(framePing, 0, 0, "12345678"), 10_000)
	go func() {
		for range 100 {
			p.send(pings)
		}
	}()
	eventually(t, "a million answers were queued", func() bool { return g.server.Counters.Floods[FloodQueue].Value() > 0 })
}

// Answers without a body, which need no window, are not collected without limit either.
func TestUnreadHeadsAreBounded(t *testing.T) {
	t.Parallel()
	const requests, size = 60, 8000
	var answered atomic.Int64
	large := strings.Repeat("v", size)
	g := serve(t, Limits{WriteTimeout: time.Minute}, handlerFunc(func(x *message.Exchange) {
		x.Response.Status = 204
		x.Response.Header.Append("X-Large", large)
		if err := x.Wire().Respond(x); err != nil {
			t.Error(err)
		}
		answered.Add(1)
	}))
	ours, theirs := net.Pipe() // It holds nothing by itself.
	g.server.Admit()
	g.conns.Go(func() { g.server.ServeConn(ours, netip.AddrPort{}) })
	p := newRawPeer(t, theirs).send(greeting)
	for i := range uint32(requests) {
		p.send(getFrame(2*i+1, "/"))
	}
	held := func() (streams, bytes int) {
		g.server.each(func(c *serverConn) {
			c.link.mu.Lock()
			defer c.link.mu.Unlock()
			bytes = len(c.link.writer.out)
			for s := c.link.writer.queueHead; s != nil; s = s.nextQueued {
				streams++
			}
		})
		return streams, bytes
	}
	eventually(t, "some neither wait nor are answered", func() bool {
		streams, _ := held()
		return streams+int(answered.Load()) == requests
	})
	if streams, bytes := held(); streams == 0 || bytes > queueLimit+2*size {
		t.Errorf("%d streams wait, %d bytes are queued", streams, bytes)
	}
	for range requests {
		p.until("headers")
	}
	p.alive()
}

// A client that opens no window loses its stream, and keeps the connection.
func TestStalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings   string
		sent       int // before the window is closed
		more, drip string
	}{
		"a window of the stream that stays closed":      {settingFrame(settingWindow, 0), 0, "", ""},
		"a window of the stream that opens in vain":     {settingFrame(settingWindow, 60_000), 60_000, settingFrame(settingWindow, 0), windowFrame(1, 1)},
		"a window of the connection that stays closed":  {settingFrame(settingWindow, 1<<20), firstWindow, "", ""},
		"a window that is taken away by other SETTINGS": {settingFrame(settingWindow, 10), 10, settingFrame(settingWindow, 5), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := make(chan error, 1)
			g := serve(t, Limits{WriteTimeout: 200 * time.Millisecond}, handlerFunc(func(x *message.Exchange) {
				failed <- say(x, 200, strings.Repeat("x", 200_000))
			}))
			p := dialRaw(t, g.address()).send(preface, c.settings, getFrame(1, "/"))
			p.until("headers 1 200")
			for p.data[1] < c.sent && p.next() != "closed" {
			}
			p.send(c.more)
			dripped := make(chan struct{})
			go p.drip(c.drip, dripped)
			p.until("reset 1 INTERNAL_ERROR")
			dripped <- struct{}{}
			if err := <-failed; err != message.ClientTooSlow {
				t.Errorf("%v", err)
			}
			if n := g.server.Counters.Floods[FloodStall].Value(); n != 1 {
				t.Errorf("%d stalls", n)
			}
			p.alive()
		})
	}
}

// drip sends the same again and again, until done takes something.
func (p *rawPeer) drip(frames string, done chan struct{}) {
	often := time.NewTicker(5 * time.Millisecond)
	defer often.Stop()
	for {
		select {
		case <-often.C:
			p.send(frames)
		case <-done:
			return
		}
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	short := 30 * time.Millisecond
	for _, c := range []struct {
		name   string
		limits Limits
		send   string
		want   string
	}{
		{"nothing at all", Limits{PrefaceTimeout: short}, "", "goaway SETTINGS_TIMEOUT"},
		{"half a preface", Limits{PrefaceTimeout: short}, preface[:10], "goaway SETTINGS_TIMEOUT"},
		{"no SETTINGS", Limits{PrefaceTimeout: short}, preface, "goaway SETTINGS_TIMEOUT"},
		{"no streams", Limits{IdleTimeout: short}, greeting, "goaway NO_ERROR"},
		{"no streams any more", Limits{IdleTimeout: short}, greeting + getFrame(1, "/"), "goaway NO_ERROR"},
		{"part of a frame's header", Limits{HeadTimeout: short}, greeting + "\x00", "goaway ENHANCE_YOUR_CALM"},
		{"part of a head", Limits{HeadTimeout: short}, greeting + getFrame(1, "/")[:20], "goaway ENHANCE_YOUR_CALM"},
		{"a head without its end", Limits{HeadTimeout: short}, greeting + frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")), "goaway ENHANCE_YOUR_CALM"},
		{"a body that does not come", Limits{BodyTimeout: short}, greeting + postFrame(1, "/read"), "reset 1 CANCEL"},
		{"a body that stops", Limits{BodyTimeout: short}, greeting + postFrame(1, "/read") + dataFrame(1, false, "x"), "reset 1 CANCEL"},
		{"a body that stops within a frame", Limits{BodyTimeout: short}, greeting + postFrame(1, "/read") + dataFrame(1, false, "xyz")[:10], "reset 1 CANCEL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, c.limits, conformanceHandler)
			p := dialRaw(t, g.address()).send(c.send)
			if said := p.until(c.want); strings.HasPrefix(said, "goaway") {
				p.until("closed")
			}
		})
	}
}

func TestMinimumBodyRate(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	g := serve(t, Limits{MinimumBodyRate: 1 << 40, BodyTimeout: 2 * time.Second}, handlerFunc(func(x *message.Exchange) {
		_, err := x.Request.ReadBody(1 << 20)
		failed <- err
		x.Wire().Abort()
	}))
	p := dialRaw(t, g.address()).send(greeting, postFrame(1, "/"))
	for {
		select {
		case err := <-failed:
			if err != message.RequestBodyTooSlow {
				t.Errorf("%v", err)
			}
			return
		default:
			p.send(dataFrame(1, false, "x"))
			time.Sleep(50 * time.Millisecond)
		}
	}
}
