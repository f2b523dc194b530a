package detached

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// arrived is an exchange as a wire has filled it, with a body that stands in a buffer of its connection.
func arrived(buffer []byte) *message.Exchange {
	x := &message.Exchange{Shard: 3}
	x.Times.Started = time.Now()
	x.Times.Connected = time.Second
	x.Deadline = x.Times.Started.Add(time.Minute)
	x.Client = message.Client{Peer: netip.MustParseAddrPort("192.0.2.1:99"), AddressText: "192.0.2.1", Listener: "web"}
	x.Facts.Route, x.Facts.RequestID, x.Facts.Consumer = "orders", "17", &message.Consumer{Name: "acme"}
	x.Facts.Params.Add("id", "4")
	x.Facts.Upstream, x.Facts.Endpoint, x.Facts.Tries, x.Facts.Fallback = "other", "192.0.2.9:80", 2, "third"
	x.ClientDeadline = x.Deadline
	r := &x.Request
	r.Method, r.Scheme, r.Authority, r.Protocol = "PUT", "https", "example.com", "HTTP/2"
	r.Path, r.RawPath, r.Query, r.HasQuery = "/a", "/./a", "q=1", true
	r.Upgrade, r.ExpectContinue = "websocket", true
	r.Header.Append("Accept", "text/plain")
	r.Header.Append("X-Tier", "gold")
	if buffer != nil {
		r.Body = message.NewBytes(buffer)
		r.Hold(buffer)
	}
	return x
}

// wipe is what becomes of an exchange's memory when another one uses it.
func wipe(x *message.Exchange, buffer []byte) {
	fields := x.Request.Header.Fields()
	for i := range fields {
		fields[i] = message.Field{Name: "X-Other", Value: "other"}
	}
	x.Reset()
	x.Request.Method, x.Request.Path = "DELETE", "/other"
	x.Facts.Params.Add("id", "other")
	for i := range buffer {
		buffer[i] = '!'
	}
}

func TestCopyOutlivesItsExchange(t *testing.T) {
	t.Parallel()
	buffer := []byte("hello")
	x := arrived(buffer)
	want := *x
	c := New(x, &x.Request)
	defer c.Free()
	wipe(x, buffer)
	y := c.Exchange()
	r := &y.Request
	if got := r.Method + " " + r.Scheme + " " + r.Authority + " " + r.Target() + " " + r.RawPath + " " + r.Protocol; got != "PUT https example.com /a?q=1 /./a HTTP/2" {
		t.Errorf("the request is %q", got)
	}
	if r.Upgrade != "" || r.ExpectContinue {
		t.Errorf("upgrade %q, expects %v", r.Upgrade, r.ExpectContinue)
	}
	if fields := r.Header.Fields(); !slices.Equal(fields, []message.Field{{Name: "Accept", Value: "text/plain"}, {Name: "X-Tier", Value: "gold"}}) {
		t.Errorf("the fields are %v", fields)
	}
	if y.Client != want.Client || y.Shard != 3 || !y.Deadline.Equal(want.Deadline) || !y.Times.Started.Equal(want.Times.Started) || y.Times.Connected != 0 {
		t.Errorf("%+v %+v %v", y.Client, y.Times, y.Deadline)
	}
	f := &y.Facts
	if f.Route != "orders" || f.RequestID != "17" || f.Consumer.Name != "acme" || f.Params.Get("id") != "4" || f.Tries != 0 || f.Upstream+f.Endpoint+f.Fallback != "" || y.ClientDeadline != want.ClientDeadline {
		t.Errorf("the facts are %+v", f)
	}
	for range 2 {
		if body, err := message.ReadAll(r.Body, 100); string(body) != "hello" || err != nil {
			t.Errorf("the body is %q, %v", body, err)
		}
		if !r.Rewind() {
			t.Error("the body cannot be sent again")
		}
	}
	if y.Response.Length != -1 || y.Wire() != message.Wire(c) {
		t.Errorf("length %d, wire %v", y.Response.Length, y.Wire())
	}
}

// stream is a body that is not in memory; as an answer it is what a test makes of it.
type stream struct {
	chunks []string
	err    error // at the end, in place of io.EOF
	closed int
}

func (s *stream) Next() ([]byte, error) {
	if len(s.chunks) == 0 {
		return nil, s.err
	}
	chunk := s.chunks[0]
	s.chunks = s.chunks[1:]
	return []byte(chunk), nil
}
func (s *stream) Length() int64            { return -1 }
func (s *stream) Trailer() *message.Header { return nil }
func (s *stream) Close() error             { s.closed++; return nil }

func TestBodyThatIsNotInMemory(t *testing.T) {
	t.Parallel()
	x := arrived(nil)
	if !x.Request.Whole() {
		t.Error("no body is not whole")
	}
	x.Request.Body = &stream{chunks: []string{"a"}}
	if x.Request.Whole() {
		t.Error("a stream is whole")
	}
	c := New(x, &x.Request)
	defer c.Free()
	if c.Exchange().Request.Body != nil || c.BytesIn() != 0 {
		t.Error("a stream was shared")
	}
	data := []byte("late")
	c.SetBody(data)
	data[0] = 'd'
	if b, _ := c.Exchange().Request.Body.Next(); string(b) != "late" || c.BytesIn() != 4 || !c.Exchange().Request.Whole() {
		t.Errorf("the body is %q, %d bytes", b, c.BytesIn())
	}
}

// waits counts how often it was cancelled.
type waits struct{ cancelled int }

func (w *waits) Cancel() { w.cancelled++ }

func TestCancel(t *testing.T) {
	t.Parallel()
	x := arrived(nil)
	c := New(x, &x.Request)
	var before, during, after waits
	c.Await(&before)
	c.Arrived()
	c.Await(&during)
	if c.Gone() {
		t.Error("gone too soon")
	}
	c.Cancel()
	c.Cancel()
	c.Arrived()
	c.Await(&after)
	if !c.Gone() || before.cancelled != 0 || during.cancelled != 1 || after.cancelled != 1 {
		t.Errorf("gone %v, cancelled %d %d %d", c.Gone(), before.cancelled, during.cancelled, after.cancelled)
	}
	c.Free()
	if c := New(x, &x.Request); c.Gone() || c.Started() {
		t.Error("a new call is gone from the start")
	}
	c = New(x, &x.Request)
	c.Abort()
	if !c.Gone() {
		t.Error("an aborted call goes on")
	}
	c.Free()
}

func TestLastHolderEndsIt(t *testing.T) {
	t.Parallel()
	x := arrived(nil)
	c := New(x, &x.Request)
	c.Share()
	answer := &stream{chunks: []string{"a"}}
	c.Exchange().Response.SetStream(answer)
	c.Free()
	if answer.closed != 0 || c.Exchange().Request.Method != "PUT" {
		t.Error("it was ended although somebody has a hold")
	}
	c.Free()
	if answer.closed != 1 {
		t.Errorf("its answer was closed %d times", answer.closed)
	}
}

func TestRespondDropsTheAnswer(t *testing.T) {
	t.Parallel()
	broken := message.UpstreamBodyBroken.WithDetail("cut")
	for _, test := range []struct {
		body *stream
		want error
		n    int64
	}{
		{&stream{chunks: []string{"ab", "c"}, err: io.EOF}, nil, 3},
		{&stream{chunks: []string{"ab"}, err: broken}, broken, 2},
		{&stream{err: errors.New("odd")}, message.UpstreamBodyBroken, 0},
		{nil, nil, 0},
	} {
		x := arrived(nil)
		c := New(x, &x.Request)
		if test.body != nil {
			c.Exchange().Response.SetStream(test.body)
		}
		err := c.Respond(c.Exchange())
		var got *message.Problem
		if (err == nil) != (test.want == nil) || err != nil && (!errors.As(err, &got) || got.Code != message.UpstreamBodyBroken.Code) {
			t.Errorf("%v, want %v", err, test.want)
		}
		if !c.Started() || c.BytesOut() != test.n || c.Exchange().Response.Body != nil || test.body != nil && test.body.closed != 1 {
			t.Errorf("started %v, %d bytes, body %+v", c.Started(), c.BytesOut(), test.body)
		}
		c.Free()
	}
}

func BenchmarkNew(b *testing.B) {
	x := arrived(make([]byte, 1000))
	b.ReportAllocs()
	for b.Loop() {
		New(x, &x.Request).Free()
	}
}
