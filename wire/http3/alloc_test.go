package http3

import (
	"io"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// One head costs one allocation: the string that all of its fields are parts of.
func TestDecodeBudget(t *testing.T) {
	block := []byte(get("/a/b?c", "user-agent: test", "accept: */*", "x-request-id: 123"))
	h, n := parseFrame(block)
	block = block[n : n+int(h.length)]
	var d decoder
	var head section.Head
	var fields message.Header
	if got := testing.AllocsPerRun(100, func() {
		fields.Reset()
		head.Begin(section.Request, &fields, 4096, 20)
		if !d.decode(block, &head, 25) || head.CheckRequest() != "" {
			t.Fatal("it is a request")
		}
	}); got > 1 {
		t.Errorf("%v allocations", got)
	}
}

// The head of an answer costs none.
func TestEncodeBudget(t *testing.T) {
	out := make([]byte, 0, 1000)
	if got := testing.AllocsPerRun(100, func() {
		b, at := beginHeaders(out)
		b = appendStatus(b, 201)
		b = appendField(b, "Content-Type", "application/json")
		b = appendField(b, "X-Request-Id", "0123456789")
		b = appendField(b, "Set-Cookie", "a=b")
		b = appendLength(b, 12345)
		_ = endHeaders(b, at)
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

// exchangeBudget is how many allocations a whole GET costs, the client's and quic-go's on both
// sides among them: 68 were measured, of which quic-go makes all but the string of the head.
const exchangeBudget = 90

func TestExchangeBudget(t *testing.T) {
	body := message.NewBytes([]byte("hello"))
	r := newRig(t, Limits{}, handler(func(x *message.Exchange) {
		body.Rewind()
		x.Response.Status, x.Response.Body = 200, body
		_ = x.Wire().Respond(x)
	}))
	p := r.dial()
	request := []byte(get("/"))
	buf := make([]byte, 1000)
	ask := func() {
		s, err := p.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Write(request)
		_ = s.Close()
		for err = nil; err == nil; {
			_, err = s.Read(buf)
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	}
	for range 200 {
		ask()
	}
	got := testing.AllocsPerRun(500, ask)
	t.Logf("%v allocations for a GET, with the client's", got)
	if got > exchangeBudget {
		t.Errorf("%v allocations", got)
	}
}
