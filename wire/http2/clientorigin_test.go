package http2

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// rawOrigin is an origin that answers with frames that a test has put together.
type rawOrigin struct {
	*rawPeer
	conn *ClientConn
	pool *countingPool
}

// serveRaw connects one of our connections with a test that plays the origin.
func serveRaw(t *testing.T, limits ClientLimits) *rawOrigin {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	o := &rawOrigin{}
	o.conn, o.pool = connectTo(t, socket.Addr().String(), limits)
	nc, err := socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	o.rawPeer = newRawPeer(t, nc)
	return o
}

// request waits for the head of a request.
func (o *rawOrigin) request() (id uint32) {
	o.t.Helper()
	for {
		f, err := o.read()
		if err != nil {
			o.t.Error(err)
			return 0
		}
		if f.kind == frameHeaders {
			return f.id
		}
	}
}

// begin reads the preface and greets.
func (o *rawOrigin) begin(settings ...uint32) {
	o.t.Helper()
	got := make([]byte, len(preface))
	if _, err := io.ReadFull(o.r, got); err != nil || string(got) != preface {
		o.t.Errorf("preface %q %v", got, err)
	}
	o.send(settingFrame(settings...))
}

// What an origin may answer, and what becomes of it.
func TestAnswersOfOrigins(t *testing.T) {
	t.Parallel()
	ok := frame(frameHeaders, flagEndHeaders, 1, field(":status", "200"))
	for _, c := range []struct {
		name    string
		method  string
		send    string
		problem *message.Problem // of RoundTrip
		broken  *message.Problem // of the body
		refused bool
	}{
		{"an answer", "GET", ok + dataFrame(1, true, "hello"), nil, nil, false},
		{"without a body", "GET", frame(frameHeaders, endBoth, 1, field(":status", "200")), nil, nil, false},
		{"with trailers", "GET", ok + dataFrame(1, false, "hello") + frame(frameHeaders, endBoth, 1, field("x", "y")), nil, nil, false},
		{"with interim answers", "GET", frame(frameHeaders, flagEndHeaders, 1, field(":status", "100")) + frame(frameHeaders, flagEndHeaders, 1, field(":status", "103")) + ok + dataFrame(1, true, ""), nil, nil, false},
		{"to HEAD, with a length", "HEAD", frame(frameHeaders, endBoth, 1, fields(":status", "200", "content-length", "5")), nil, nil, false},
		{"no :status", "GET", frame(frameHeaders, endBoth, 1, field("x", "y")), message.UpstreamMalformed, nil, false},
		{":status twice", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", ":status", "200")), message.UpstreamMalformed, nil, false},
		{":status of two digits", "GET", frame(frameHeaders, endBoth, 1, field(":status", "20")), message.UpstreamMalformed, nil, false},
		{":status of letters", "GET", frame(frameHeaders, endBoth, 1, field(":status", "2oo")), message.UpstreamMalformed, nil, false},
		{":status above 599", "GET", frame(frameHeaders, endBoth, 1, field(":status", "600")), message.UpstreamMalformed, nil, false},
		{":status 101", "GET", frame(frameHeaders, flagEndHeaders, 1, field(":status", "101")), message.UpstreamMalformed, nil, false},
		{"a request's pseudo-field", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", ":path", "/")), message.UpstreamMalformed, nil, false},
		{"an upper-case name", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", "X", "y")), message.UpstreamMalformed, nil, false},
		{"LF in a value", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", "x", "a\nb")), message.UpstreamMalformed, nil, false},
		{"a field of a connection", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", "connection", "close")), message.UpstreamMalformed, nil, false},
		{"Transfer-Encoding", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", "transfer-encoding", "chunked")), message.UpstreamMalformed, nil, false},
		{"an interim answer that ends the stream", "GET", frame(frameHeaders, endBoth, 1, field(":status", "103")), message.UpstreamMalformed, nil, false},
		{"an interim answer with a length", "GET", frame(frameHeaders, flagEndHeaders, 1, fields(":status", "103", "content-length", "3")), message.UpstreamMalformed, nil, false},
		{"data before the head", "GET", dataFrame(1, false, "x"), message.UpstreamMalformed, nil, false},
		{"204 with a length", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "204", "content-length", "3")), message.UpstreamMalformed, nil, false},
		{"a length without a body", "GET", frame(frameHeaders, endBoth, 1, fields(":status", "200", "content-length", "3")), message.UpstreamMalformed, nil, false},
		{"too many interim answers", "GET", strings.Repeat(frame(frameHeaders, flagEndHeaders, 1, field(":status", "103")), 102), message.UpstreamMalformed, nil, false},
		{"too large a head", "GET", frame(frameHeaders, flagEndHeaders, 1, field(":status", "200")+strings.Repeat(field("x", "y"), 300)), message.UpstreamHeaderLimit, nil, false},
		{"a reset", "GET", resetFrame(1, uint32(InternalError)), message.UpstreamClosed, nil, false},
		{"a refusal", "POST", resetFrame(1, uint32(RefusedStream)), message.UpstreamClosed, nil, true},
		{"GOAWAY below the stream", "POST", frame(frameGoAway, 0, 0, u32(0)+u32(0)), message.UpstreamClosed, nil, true},
		{"GOAWAY that includes the stream", "GET", frame(frameGoAway, 0, 0, u32(1)+u32(0)) + ok + dataFrame(1, true, "x"), nil, nil, false},
		{"a push", "GET", frame(framePushPromise, flagEndHeaders, 1, u32(2)), message.UpstreamClosed, nil, false},
		{"a block that cannot be decoded", "GET", frame(frameHeaders, endBoth, 1, "\x80"), message.UpstreamClosed, nil, false},
		{"an answer to nothing", "GET", frame(frameHeaders, endBoth, 3, field(":status", "200")), message.UpstreamClosed, nil, false},
		{"ENABLE_PUSH by a server", "GET", settingFrame(settingPush, 1), message.UpstreamClosed, nil, false},
		{"a body that is too short", "GET", frame(frameHeaders, flagEndHeaders, 1, fields(":status", "200", "content-length", "9")) + dataFrame(1, true, "x"), nil, message.UpstreamBodyBroken, false},
		{"a body that is too long", "GET", frame(frameHeaders, flagEndHeaders, 1, fields(":status", "200", "content-length", "2")) + dataFrame(1, false, "xyz"), nil, message.UpstreamBodyBroken, false},
		{"a body that is reset", "GET", ok + dataFrame(1, false, "x") + resetFrame(1, 2), nil, message.UpstreamBodyBroken, false},
		{"a body that is whole before a reset", "GET", ok + dataFrame(1, true, "x") + resetFrame(1, 0), nil, nil, false},
		{"trailers with a pseudo-field", "GET", ok + dataFrame(1, false, "x") + frame(frameHeaders, endBoth, 1, field(":status", "200")), nil, message.UpstreamBodyBroken, false},
		{"too large trailers", "GET", ok + dataFrame(1, false, "x") + frame(frameHeaders, endBoth, 1, field("x", strings.Repeat("y", 9000))), nil, message.UpstreamBodyBroken, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := serveRaw(t, ClientLimits{HeaderBytes: 8 << 10})
			go func() {
				o.begin()
				o.request()
				o.send(c.send)
				for { // Until the connection is closed.
					if _, err := o.read(); err != nil {
						return
					}
				}
			}()
			x := ask(new(quietWire), c.method, "/", nil)
			f := o.conn.RoundTrip(x, &x.Request, &x.Response)
			if c.problem != nil {
				if f == nil || !errors.Is(f, c.problem) || f.Refused != c.refused || !f.Sent {
					t.Fatalf("%+v", f)
				}
				return
			}
			// What breaks the body may come together with the head, or before it is looked at.
			if f != nil && c.broken != nil && errors.Is(f, message.UpstreamMalformed) {
				return
			}
			if f != nil {
				t.Fatal(f)
			}
			_, err := message.ReadAll(x.Response.Body, 1<<20)
			if c.broken == nil && err != nil || c.broken != nil && !errors.Is(err, c.broken) {
				t.Errorf("body: %v", err)
			}
			x.Response.CloseBody()
			if o.conn.Streams() != 0 {
				t.Error("the stream is left")
			}
		})
	}
}

// An origin may say after each whole answer that it wants no more of the request (RFC 9113 §8.1), and fail at some
// requests: as long as it answers others it keeps its connection.
func TestOriginThatResetsSome(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{Floods: Floods{Resets: 10, Unknown: 10}})
	const requests = 150
	go func() {
		o.begin()
		for i := range requests {
			id := o.request()
			if i%3 == 2 {
				o.send(resetFrame(id, uint32(InternalError)))
				continue
			}
			o.send(frame(frameHeaders, endBoth, id, field(":status", "200")) + resetFrame(id, uint32(NoError)))
		}
	}()
	for i := range requests {
		x := ask(new(quietWire), "GET", "/", nil)
		f := o.conn.RoundTrip(x, &x.Request, &x.Response)
		x.Response.CloseBody()
		if i%3 == 2 && (f == nil || f.Problem != message.UpstreamClosed) || i%3 != 2 && f != nil {
			t.Fatalf("request %d: %+v", i, f)
		}
		if !o.conn.CanTake() {
			t.Fatalf("request %d: the connection is left", i)
		}
	}
}

// The connection is lost at each phase.
func TestOriginGoesAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, send string
		problem    *message.Problem
		broken     bool
	}{
		{"before the answer", "", message.UpstreamClosed, false},
		{"within the head", frame(frameHeaders, flagEndHeaders, 1, field(":status", "200"))[:12], message.UpstreamClosed, false},
		{"within the body", frame(frameHeaders, flagEndHeaders, 1, field(":status", "200")) + dataFrame(1, false, "x"), nil, true},
		{"behind the body", frame(frameHeaders, flagEndHeaders, 1, field(":status", "200")) + dataFrame(1, true, "x"), nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := serveRaw(t, ClientLimits{})
			go func() {
				o.begin()
				o.request()
				o.send(c.send)
				_ = o.nc.Close()
			}()
			x := ask(new(quietWire), "GET", "/", nil)
			f := o.conn.RoundTrip(x, &x.Request, &x.Response)
			if c.problem != nil {
				if f == nil || !errors.Is(f, c.problem) || f.Refused {
					t.Fatalf("%+v", f)
				}
				return
			}
			if f != nil {
				t.Fatal(f)
			}
			_, err := message.ReadAll(x.Response.Body, 100)
			if c.broken != (err != nil) {
				t.Errorf("%v", err)
			}
			x.Response.CloseBody()
		})
	}
}

// How many streams there may be at once is the origin's to say.
func TestClientKeepsTheLimit(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	o.begin(settingStreams, 1)
	o.until("ack")
	answered := make(chan *Failure)
	go func() {
		x := ask(new(quietWire), "GET", "/", nil)
		f := o.conn.RoundTrip(x, &x.Request, &x.Response)
		x.Response.CloseBody()
		answered <- f
	}()
	o.request()
	if o.conn.CanTake() {
		t.Error("it takes a second one")
	}
	x := ask(new(quietWire), "GET", "/", nil)
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f == nil || !f.Refused || f.Sent {
		t.Errorf("%+v", f)
	}
	o.send(frame(frameHeaders, endBoth, 1, field(":status", "200")))
	if f := <-answered; f != nil {
		t.Error(f)
	}
	if !o.conn.CanTake() {
		t.Error("it takes no further one")
	}
}

// An origin that was silent until a stream was given up is asked whether it is there: once behind each answer.
func TestDoubt(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{ResponseTimeout: 30 * time.Millisecond, Silence: time.Millisecond, PingTimeout: 2 * testPatience})
	o.begin()
	o.until("ack") // It was read: from here on the origin is silent.
	for range 2 {
		o.failure(t, message.UpstreamTimeout)
		if o.conn.CanTake() {
			t.Error("a connection in doubt takes exchanges")
		}
		o.until("asked " + alivePing)
		o.send(frame(framePing, flagAck, 0, alivePing))
		eventually(t, "the answer was not heard", o.conn.CanTake)
		o.failure(t, message.UpstreamTimeout)
		if !o.conn.CanTake() {
			t.Error("it was asked twice")
		}
		answer := frame(frameHeaders, endBoth, o.conn.nextID-2, field(":status", "200")) // It comes too late, but it comes.
		o.send(answer)
		eventually(t, "an answer was not heard", func() bool {
			o.conn.link.mu.Lock()
			defer o.conn.link.mu.Unlock()
			return !o.conn.doubted
		})
	}
}

// failure sends a request that gets no answer.
func (o *rawOrigin) failure(t *testing.T, want *message.Problem) {
	t.Helper()
	x := ask(new(quietWire), "GET", "/", nil)
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f == nil || f.Problem != want {
		t.Errorf("%+v", f)
	}
}

// An origin that does not answer the PING is lost. One that was not silent for long is not asked.
func TestDoubtThatIsRight(t *testing.T) {
	t.Parallel()
	lost := serveRaw(t, ClientLimits{ResponseTimeout: 30 * time.Millisecond, Silence: time.Millisecond, PingTimeout: 30 * time.Millisecond})
	lost.begin()
	lost.until("ack")
	lost.failure(t, message.UpstreamTimeout)
	<-lost.pool.dead
	quick := serveRaw(t, ClientLimits{ResponseTimeout: 30 * time.Millisecond, Silence: time.Hour})
	quick.begin()
	quick.failure(t, message.UpstreamTimeout)
	if !quick.conn.CanTake() {
		t.Error("it is in doubt")
	}
}

// What goes to an origin belongs to no connection of HTTP/1, and says that it has no body where one is expected.
func TestRequestAsSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, target, want string }{
		{"GET", "/", ":method GET, :scheme http, :path /, :authority example.com, x-one 1, te trailers"},
		{"POST", "/a?b=%zz", ":method POST, :scheme http, :path /a?b=%zz, :authority example.com, x-one 1, te trailers, content-length 0"},
		{"PUT", "/a?", ":method PUT, :scheme http, :path /a?, :authority example.com, x-one 1, te trailers, content-length 0"},
		{"DELETE", "/", ":method DELETE, :scheme http, :path /, :authority example.com, x-one 1, te trailers"},
	} {
		o := serveRaw(t, ClientLimits{})
		got := make(chan string, 1)
		go func() {
			o.begin()
			f, err := o.read()
			for err == nil && f.kind != frameHeaders {
				f, err = o.read()
			}
			list, _ := o.decoder.DecodeFull(f.payload)
			var said []string
			for _, field := range list {
				said = append(said, field.Name+" "+field.Value)
			}
			got <- strings.Join(said, ", ")
			o.send(frame(frameHeaders, endBoth, 1, field(":status", "204")))
		}()
		x := ask(new(quietWire), c.method, c.target, nil)
		for _, f := range [][2]string{
			{"X-One", "1"}, {"Connection", "x-two"}, {"Keep-Alive", "5"}, {"Proxy-Connection", "x"}, {"Transfer-Encoding", "chunked"},
			{"Upgrade", "h2c"}, {"HTTP2-Settings", "AAMAAABk"}, {"Content-Length", "7"}, {"Host", "b.example.com"}, {"TE", "gzip"}, {"TE", "trailers"},
		} {
			x.Request.Header.Append(f[0], f[1])
		}
		if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Error(f)
		}
		x.Response.CloseBody()
		if said := <-got; said != c.want {
			t.Errorf("got %s\nnot %s", said, c.want)
		}
	}
}

// A retired connection ends with its last exchange.
func TestRetire(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	o.begin()
	answered := make(chan *Failure)
	go func() {
		x := ask(new(quietWire), "GET", "/", nil)
		f := o.conn.RoundTrip(x, &x.Request, &x.Response)
		x.Response.CloseBody()
		answered <- f
	}()
	o.request()
	o.conn.Retire()
	if o.conn.CanTake() {
		t.Error("a retired connection takes exchanges")
	}
	o.send(frame(frameHeaders, endBoth, 1, field(":status", "200")))
	if f := <-answered; f != nil {
		t.Error(f)
	}
	o.until("goaway NO_ERROR")
	_ = o.nc.Close()
	<-o.pool.dead
}

// A client's body that fails is the client's fault, and the origin must not take a part for the whole.
func TestUploadThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body *streamed
		want *message.Problem
	}{
		"the client is gone": {&streamed{pieces: [][]byte{[]byte("x")}, length: -1, err: message.ClientGone}, message.ClientGone},
		"too short":          {&streamed{pieces: [][]byte{[]byte("x")}, length: 5}, message.Internal},
		"too long":           {&streamed{pieces: [][]byte{[]byte("xyz")}, length: 1}, message.Internal},
		"it is too large":    {&streamed{pieces: [][]byte{[]byte("x")}, length: -1, err: message.ErrBodyTooLarge}, message.RequestTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serveRaw(t, ClientLimits{})
			w := new(quietWire)
			x := ask(w, "POST", "/", c.body)
			f := o.conn.RoundTrip(x, &x.Request, &x.Response)
			if f == nil || !errors.Is(f, c.want) || !f.BodyTaken {
				t.Fatalf("%+v", f)
			}
			if w.lent.Load() != 0 {
				t.Error("the body was not returned")
			}
		})
	}
}

// An origin that answers before it has read everything stops the upload.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, 0, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "enough", http.StatusRequestEntityTooLarge)
	}))
	c, _ := o.connect(t, ClientLimits{})
	w := new(quietWire)
	x := ask(w, "POST", "/", inPieces(pattern(2_000_000), 20_000))
	if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	data, err := message.ReadAll(x.Response.Body, 100)
	if x.Response.Status != 413 || string(data) != "enough\n" || err != nil {
		t.Errorf("%d %q %v", x.Response.Status, data, err)
	}
	x.Response.CloseBody()
	if w.lent.Load() != 0 || c.Streams() != 0 {
		t.Errorf("lent %d, %d streams", w.lent.Load(), c.Streams())
	}
}

// An origin whose windows stay closed does not get the body, and does not hold us for ever.
func TestUploadThatStalls(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{BodyTimeout: 50 * time.Millisecond})
	go func() {
		o.begin()
		o.request()
		for {
			if _, err := o.read(); err != nil {
				return
			}
		}
	}()
	x := ask(new(quietWire), "POST", "/", message.NewBytes(pattern(200_000)))
	f := o.conn.RoundTrip(x, &x.Request, &x.Response)
	if f == nil || !errors.Is(f, message.UpstreamTimeout) {
		t.Fatalf("%v", f)
	}
}

// Whoever waits for a body finds out that nothing has come, and the origin's silence is no longer than it
// may be.
func TestWaitForBody(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{BodyTimeout: 300 * time.Millisecond})
	waited := make(chan struct{})
	go func() {
		o.begin()
		id := o.request()
		o.send(frame(frameHeaders, flagEndHeaders, id, fields(":status", "200")), dataFrame(id, false, "a"))
		<-waited
		o.send(dataFrame(id, false, "b"))
	}()
	x := ask(new(quietWire), "GET", "/", nil)
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	body, waiter := x.Response.Body, x.Response.Body.(message.Waiter)
	said, vain := "", 0
	for {
		if !waiter.Wait(30 * time.Millisecond) {
			if vain++; said == "a" && vain == 1 {
				close(waited)
			}
			continue
		}
		chunk, err := body.Next()
		said += string(chunk)
		if err == nil {
			continue
		}
		if p, _ := err.(*message.Problem); p == nil || p.Code != "upstream_body_broken" {
			t.Error(err)
		}
		break
	}
	if said != "ab" || vain < 2 || !waiter.Wait(time.Hour) {
		t.Errorf("%q, %d times in vain", said, vain)
	}
	x.Response.CloseBody()
}

// An origin that answers before it has the whole body, and says that it wants no more of it (RFC 9113 §8.1): the upload
// ends by itself, and the client's body is not cut off.
func TestEarlyAnswerThatEndsTheUpload(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	go func() {
		o.begin()
		o.request()
		o.send(frame(frameHeaders, flagEndHeaders, 1, field(":status", "401")), dataFrame(1, true, "no"), resetFrame(1, 0))
	}()
	w := new(quietWire)
	x := ask(w, "POST", "/", inPieces(pattern(1<<20), 1000)) // More than the origin's window takes.
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	if got, err := message.ReadAll(x.Response.Body, 100); string(got) != "no" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	x.Response.CloseBody()
	if w.stopped.Load() || w.lent.Load() != 0 || o.conn.Streams() != 0 {
		t.Errorf("stopped %v, lent %d, %d streams", w.stopped.Load(), w.lent.Load(), o.conn.Streams())
	}
}

// One direction of a tunnel may end it while the other one still passes on what it has read: nobody else
// may write into that.
func TestClosedTunnelKeepsWhatWasRead(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{})
	const times = 20
	go func() {
		o.begin(settingConnect, 1)
		for range times {
			id := o.request()
			o.send(frame(frameHeaders, flagEndHeaders, id, field(":status", "200")), dataFrame(id, false, "hello"))
		}
	}()
	for range times {
		x := ask(new(quietWire), "GET", "/", nil)
		x.Request.Upgrade = "websocket"
		if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
			t.Fatal(f)
		}
		tunnel := x.Response.Tunnel
		view, err := tunnel.Next()
		if string(view) != "hello" || err != nil {
			t.Fatalf("%q %v", view, err)
		}
		var closed sync.WaitGroup
		closed.Go(func() {
			_ = tunnel.Close()
			var other inflow
			other.put([]byte("other"))
			other.drop()
		})
		for range 100 {
			if string(view) != "hello" {
				break
			}
			runtime.Gosched()
		}
		closed.Wait()
		if string(view) != "hello" {
			t.Errorf("it became %q", view)
		}
	}
}

// A tunnel waits for the origin's settings, but not when they can come no more.
func TestTunnelOfAnOriginThatLeaves(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{ResponseTimeout: time.Hour})
	x := ask(new(quietWire), "GET", "/", nil)
	x.Request.Upgrade = "websocket"
	failed := make(chan *Failure, 1)
	go func() { failed <- o.conn.RoundTrip(x, &x.Request, &x.Response) }()
	if _, err := io.ReadFull(o.r, make([]byte, len(preface))); err != nil {
		t.Fatal(err)
	}
	// Nothing is written any more that would wake who waits.
	eventually(t, "the greeting is not sent", func() bool {
		o.conn.link.mu.Lock()
		defer o.conn.link.mu.Unlock()
		return !o.conn.link.writer.running
	})
	_ = o.nc.(*net.TCPConn).CloseWrite()
	select {
	case f := <-failed:
		if f == nil || !errors.Is(f, message.UpstreamClosed) || f.Sent || !f.Refused {
			t.Errorf("%+v", f)
		}
	case <-time.After(testPatience):
		t.Error("it waits for ever")
	}
}

// How long an origin may be silent is counted from its last byte, also where that was there before
// somebody waited for it.
func TestSilenceIsCountedFromTheLastByte(t *testing.T) {
	t.Parallel()
	o := serveRaw(t, ClientLimits{BodyTimeout: time.Hour})
	go func() {
		o.begin()
		id := o.request()
		o.send(frame(frameHeaders, flagEndHeaders, id, field(":status", "200")))
	}()
	x := ask(new(quietWire), "GET", "/", nil)
	if f := o.conn.RoundTrip(x, &x.Request, &x.Response); f != nil {
		t.Fatal(f)
	}
	body, waiter := x.Response.Body, x.Response.Body.(message.Waiter)
	if waiter.Wait(time.Millisecond) {
		t.Fatal("something has come")
	}
	o.send(dataFrame(1, false, "a"))
	eventually(t, "it does not come", body.(message.Ready).Ready)
	if !waiter.Wait(time.Hour) {
		t.Error("what is there is waited for")
	}
	if chunk, err := body.Next(); string(chunk) != "a" || err != nil {
		t.Errorf("%q %v", chunk, err)
	}
	l := &o.conn.link
	l.mu.Lock()
	if s := l.streams[1]; s.silentFrom != 0 {
		t.Errorf("the silence is counted from %d", s.silentFrom)
	}
	l.mu.Unlock()
	x.Response.CloseBody()
}
