package listen

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

func TestGenerationOf(t *testing.T) {
	t.Parallel()
	id, err := generation(7).GenerateConnectionID()
	if err != nil || id.Len() != generation(7).ConnectionIDLen() {
		t.Fatal(id, err)
	}
	own := string(id.Bytes())
	foreign := "\x07" + own[1:9] + string([]byte{own[9] ^ 1})
	long := func(id string) string { return "\xc0\x00\x00\x00\x01" + string([]byte{byte(len(id))}) + id + "more" }
	for name, c := range map[string]struct {
		packet string
		ours   bool
	}{
		"short":                    {"\x40" + own + "payload", true},
		"long":                     {long(own), true},
		"short of somebody else":   {"\x40" + foreign + "payload", false},
		"long of somebody else":    {long(foreign), false},
		"long with another length": {long(own + "x"), false},
		"cut short":                {"\x40" + own[:9], false},
		"cut long":                 {long(own)[:12], false},
		"one byte":                 {"\x40", false},
		"nothing":                  {"", false},
	} {
		g, ok := generationOf([]byte(c.packet))
		if ok != c.ours || ok && g != 7 {
			t.Errorf("%s: %d, %v", name, g, ok)
		}
	}
}

func FuzzGenerationOf(f *testing.F) {
	f.Add([]byte("\xc0\x00\x00\x00\x01\x0a0123456789"))
	f.Fuzz(func(_ *testing.T, packet []byte) {
		generationOf(packet)
		m := ipv4.Message{Buffers: [][]byte{make([]byte, 100)}, OOB: make([]byte, 20)}
		parseHanded(packet, &m)
	})
}

// What one process hands on the other one reads, and what is its own it keeps.
func TestSift(t *testing.T) {
	t.Parallel()
	older, newer := conversation(t)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	c := newSharedConn(udp, 1)
	c.older.Store(newer)
	packet := func(g generation, text string) ipv4.Message {
		id, _ := g.GenerateConnectionID()
		b := append(append([]byte{0x40}, id.Bytes()...), text...)
		room := make([]byte, 100)
		return ipv4.Message{Buffers: [][]byte{room}, OOB: []byte{1, 2, 3}, N: copy(room, b), NN: 2, Addr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1234}}
	}
	all := []ipv4.Message{packet(0, "first"), packet(1, "second"), packet(0, "third"), packet(1, "fourth")}
	if n := c.sift(all); n != 2 || string(all[0].Buffers[0][11:all[0].N]) != "second" || string(all[1].Buffers[0][11:all[1].N]) != "fourth" {
		t.Errorf("%d kept, %q, %q", n, all[0].Buffers[0], all[1].Buffers[0])
	}
	for _, want := range []string{"first", "third"} {
		got := make([]byte, 4096)
		size, err := older.Read(got)
		m := ipv4.Message{Buffers: [][]byte{make([]byte, 100)}, OOB: make([]byte, 20)}
		if err != nil || !parseHanded(got[:size], &m) || string(m.Buffers[0][11:m.N]) != want || m.NN != 2 || m.OOB[1] != 2 || m.Addr.String() != "127.0.0.1:1234" {
			t.Errorf("%q: %v %+v", want, err, m)
		}
	}
	// A process that has ended gets nothing more.
	_ = older.Close()
	all = []ipv4.Message{packet(0, "first"), packet(1, "second")}
	if n := c.sift(all); n != 2 || c.older.Load() != nil {
		t.Errorf("%d kept", n)
	}
}

// A hand-over with HTTP/3: what is under way in the old process comes to its end there, and new connections
// are the new one's, over one socket.
func TestHandoverOfHTTP3(t *testing.T) {
	t.Parallel()
	old, at := newRig(t), free(t)
	old.apply(both("a", at))
	c, conn, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan string, 1)
	go func() { slow <- asked(c, "/slow") }()
	<-old.site.begun

	ours, theirs := patient(t)
	held := old.Held()
	given := offering(ours, held...)
	inherited := quiet()
	if _, err := inherited.Receive(theirs); err != nil {
		t.Fatal(err)
	}
	next := newRig(t)
	next.Inherited = inherited
	next.apply(both("a", at))
	inherited.Close()
	ready := make(chan error, 1)
	go func() { ready <- Ready(theirs) }()
	if got := <-given; got.err != nil {
		t.Fatal(got.err)
	}
	if err := Yours(ours, held); err != nil {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	next.Begin()
	cut := make(chan int, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cut <- old.Yield(ctx, 0)
	}()

	for range 3 {
		other, _, err := overQUIC(t, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := asked(other, "/"); got != "HTTP/3.0 a" {
			t.Error(got)
		}
	}
	if n := next.metrics.opened.Load(); n != 3 {
		t.Errorf("the new process has %d of 3 new connections", n)
	}
	close(old.site.goOn)
	if got := <-slow; got != "HTTP/3.0 a" {
		t.Errorf("what was under way: %s", got)
	}
	<-conn.Context().Done()
	if n := <-cut; n != 0 {
		t.Errorf("%d connections were cut", n)
	}
	last, _, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	if got := asked(last, "/"); got != "HTTP/3.0 a" {
		t.Errorf("when the old process has gone: %s", got)
	}
}

// A hand-over that fails leaves everything where it was.
func TestHandoverOfHTTP3Fails(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	r.apply(both("a", at))
	c, _, err := overQUIC(t, at)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := patient(t)
	held := r.Held()
	given := offering(ours, held...)
	inherited := NewInheritance(slog.New(slog.DiscardHandler))
	if _, err := inherited.Receive(theirs); err != nil {
		t.Fatal(err)
	}
	// It says that it is ready, and dies before it is told that all is its own.
	_ = sendNote(theirs, note{Ready: true}, nil)
	if got := <-given; got.err != nil {
		t.Fatal(got.err)
	}
	inherited.Close()
	_ = theirs.Close()
	if Yours(ours, held) == nil {
		t.Fatal("nobody heard it")
	}
	if got := asked(c, "/"); got != "HTTP/3.0 a" {
		t.Error(got)
	}
	if _, _, err := overQUIC(t, at); err != nil {
		t.Error(err)
	}
}

// A configuration may change just when this process has taken over.
func TestBeginDuringAChange(t *testing.T) {
	t.Parallel()
	r, at := newRig(t), free(t)
	with := both("a", at)
	without := with
	without.Protocols = with.Protocols[:2]
	r.apply(without)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				r.Begin()
			}
		}
	}()
	r.apply(with)
	r.apply(without)
	close(stop)
	<-stopped
	if n := len(r.Held()); n != 1 {
		t.Errorf("%d sockets", n)
	}
}
