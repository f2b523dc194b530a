package grpcweb

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	codec "github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

// chunks is a body that comes in pieces, each of which is overwritten by the next one.
type chunks struct {
	list    []string
	length  int64
	end     error
	trailer *message.Header
	view    []byte
	ready   bool
	closed  int
}

func (c *chunks) Next() ([]byte, error) {
	for i := range c.view {
		c.view[i] = '#'
	}
	if len(c.list) == 0 {
		return nil, c.end
	}
	c.view = []byte(c.list[0])
	c.list = c.list[1:]
	return c.view, nil
}

func (c *chunks) Length() int64            { return c.length }
func (c *chunks) Trailer() *message.Header { return c.trailer }
func (c *chunks) Close() error             { c.closed++; return nil }
func (c *chunks) Ready() bool              { return c.ready }

// cut is a body whose pieces have a size.
func cut(s string, size int, length int64) *chunks {
	c := &chunks{length: length, end: io.EOF}
	for ; len(s) > size; s = s[size:] {
		c.list = append(c.list, s[:size])
	}
	if s != "" {
		c.list = append(c.list, s)
	}
	return c
}

func hooks(t testing.TB, limit int64) policy.Hooks {
	t.Helper()
	return policytest.New(t, "policies: [{ grpc_web: { message_size: "+strconv.FormatInt(limit, 10)+"B } }]", Kind).Hooks()
}

// ask makes an exchange with a body.
func ask(contentType string, body message.Body) *message.Exchange {
	x := &message.Exchange{}
	x.Response.Length = -1
	x.Request.Method = "POST"
	x.Request.Header.Append("Content-Type", contentType)
	x.Request.Body = body
	return x
}

// read reads a body to its end.
func read(body message.Body) (string, error) {
	var all strings.Builder
	for {
		chunk, err := body.Next()
		if err == io.EOF {
			return all.String(), nil
		}
		if err != nil {
			return all.String(), err
		}
		if len(chunk) == 0 {
			return all.String(), errors.New("an empty chunk")
		}
		all.Write(chunk)
	}
}

// text is s in pieces of base64, each of which has its padding.
func text(s string, piece int) string {
	var out []byte
	for ; len(s) > piece; s = s[piece:] {
		out = codec.AppendText(out, []byte(s[:piece]))
	}
	return string(codec.AppendText(out, []byte(s)))
}

// frame is a message with its head.
func frame(flag byte, data string) string {
	n := len(data)
	return string([]byte{flag, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + data
}

func TestRequests(t *testing.T) {
	t.Parallel()
	h := hooks(t, 64<<10)
	messages := frame(0, "") + frame(1, strings.Repeat("0123456789", 5000)) + frame(0, "abc")
	for _, chunk := range []int{1, 3, 5, 4096, 1 << 20} {
		for _, piece := range []int{1, 2, 3, 1000, 1 << 20} {
			body := cut(text(messages, piece), chunk, 7)
			x := ask("application/grpc-web-text", body)
			if v := h.OnRequest(x); v != message.Next {
				t.Fatal(v)
			}
			got, err := read(x.Request.Body)
			if got != messages || err != nil || x.Request.Body.Length() != -1 {
				t.Errorf("text in pieces of %d, chunks of %d: %d bytes, %v, length %d", piece, chunk, len(got), err, x.Request.Body.Length())
			}
			if err := x.Request.Body.Close(); err != nil || body.closed != 1 {
				t.Errorf("closed %d times: %v", body.closed, err)
			}
		}
		for _, length := range []int64{-1, int64(len(messages))} {
			x := ask("application/grpc-web", cut(messages, chunk, length))
			h.OnRequest(x)
			got, err := read(x.Request.Body)
			if got != messages || err != nil || x.Request.Body.Length() != length {
				t.Errorf("chunks of %d: %d bytes, %v, length %d", chunk, len(got), err, x.Request.Body.Length())
			}
		}
	}
}

// TestWrongRequests has requests of which nothing may look whole, and the error stays.
func TestWrongRequests(t *testing.T) {
	t.Parallel()
	h := hooks(t, 10)
	for _, c := range []struct {
		contentType, body string
		want              *message.Problem
	}{
		{"application/grpc-web", frame(0x80, ""), wrongFlag},
		{"application/grpc-web", frame(0, "01234567890"), tooLarge},
		{"application/grpc-web-text", text(frame(0, "abc"), 100)[:10], cutText},
		{"application/grpc-web-text", "AAA*", notText},
		{"application/grpc-web-text", text(frame(0, "01234567890"), 100), tooLarge},
	} {
		for _, chunk := range []int{1, 3, 100} {
			for _, length := range []int64{-1, int64(len(c.body))} {
				x := ask(c.contentType, cut(c.body, chunk, length))
				h.OnRequest(x)
				_, err := read(x.Request.Body)
				_, again := x.Request.Body.Next()
				var problem *message.Problem
				if !errors.As(err, &problem) || problem.Code != c.want.Code || again != err {
					t.Errorf("%s %q in chunks of %d: %v, then %v", c.contentType, c.body, chunk, err, again)
				}
				if c.want.Detail != "" && problem != nil && problem.Detail != c.want.Detail {
					t.Errorf("%s %q: %s", c.contentType, c.body, problem.Detail)
				}
			}
		}
	}
	// Half a message is the origin's to judge.
	x := ask("application/grpc-web-text", cut("AAAA", 3, 4))
	h.OnRequest(x)
	if got, err := read(x.Request.Body); got != "\x00\x00\x00" || err != nil {
		t.Errorf("half a message becomes %q, %v", got, err)
	}
	// What the wire says stays what it is.
	broken := cut("abc", 3, -1)
	broken.end = message.ClientGone
	x = ask("application/grpc-web", broken)
	h.OnRequest(x)
	if _, err := read(x.Request.Body); err != message.ClientGone {
		t.Errorf("the error is %v", err)
	}
}

// answerOf sends an exchange through and returns the answer's body.
func answerOf(t *testing.T, h policy.Hooks, contentType string, body *chunks) message.Body {
	t.Helper()
	x := ask(contentType, nil)
	h.OnRequest(x)
	x.Response.Status = 200
	x.Response.Header.Append("Content-Type", "application/grpc+proto")
	x.Response.Body = body
	if v := h.OnResponse(x); v != message.Next {
		t.Fatal(v)
	}
	if x.Response.Body.Length() != -1 {
		t.Errorf("the length is said to be %d", x.Response.Body.Length())
	}
	return x.Response.Body
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	h := hooks(t, 10)
	messages := frame(0, strings.Repeat("0123456789", 5000)) + frame(0, "abc")
	trailer := &message.Header{}
	trailer.Append("Grpc-Status", "0")
	trailer.Append("x-left", "7")
	end := frame(0x80, "grpc-status: 0\r\nx-left: 7\r\n")
	for _, chunk := range []int{1, 2, 3, 5, 16 << 10, 1 << 20} {
		body := cut(messages, chunk, -1)
		body.trailer = trailer
		out := answerOf(t, h, "application/grpc-web+proto", body)
		got, err := read(out)
		if got != messages+end || err != nil || out.Trailer() != nil {
			t.Errorf("chunks of %d: %d bytes, %v", chunk, len(got), err)
		}
		if err := out.Close(); err != nil || body.closed != 1 {
			t.Errorf("closed %d times: %v", body.closed, err)
		}

		body = cut(messages, chunk, int64(len(messages)))
		body.trailer = trailer
		out = answerOf(t, h, "application/grpc-web-text", body)
		got, err = read(out)
		if want := text(messages, min(chunk, piece)) + text(end, 100); chunk != 16<<10 && got != want || err != nil {
			t.Errorf("text of chunks of %d: %v, %q", chunk, err, got[max(len(got)-100, 0):])
		}
		var d codec.Decoder
		decoded := make([]byte, len(got))
		n, _, err := d.Decode(decoded, []byte(got))
		if string(decoded[:n]) != messages+end || err != nil || !d.Whole() {
			t.Errorf("text of chunks of %d is read as %d bytes: %v", chunk, n, err)
		}
	}
	// An answer that breaks off is not given an end.
	body := cut("abc", 3, -1)
	body.end = message.UpstreamBodyBroken
	out := answerOf(t, h, "application/grpc-web", body)
	if got, err := read(out); got != "abc" || err != message.UpstreamBodyBroken {
		t.Errorf("%q, %v", got, err)
	}
	// Nor is one that nobody wants any more.
	out = answerOf(t, h, "application/grpc-web-text", cut("abcabc", 3, -1))
	if _, err := out.Next(); err != nil {
		t.Error(err)
	}
	_ = out.Close()
	if chunk, err := out.Next(); err == nil || err == io.EOF {
		t.Errorf("after Close: %q, %v", chunk, err)
	}
}

// TestReady looks at who says that there is something to be had at once.
func TestReady(t *testing.T) {
	t.Parallel()
	h := hooks(t, 10)
	body := cut("AAAA", 4, -1)
	x := ask("application/grpc-web-text", body)
	h.OnRequest(x)
	in := x.Request.Body.(message.Ready)
	out := answerOf(t, h, "application/grpc-web", body).(message.Ready)
	if in.Ready() || out.Ready() {
		t.Error("ready, and nothing is there")
	}
	body.ready = true
	if !in.Ready() || !out.Ready() {
		t.Error("not ready, and something is there")
	}
	body.ready = false
	if _, err := read(x.Request.Body); err != nil || !in.Ready() {
		t.Errorf("the end can be had at once: %v", err)
	}
	x = ask("application/grpc-web", nil)
	h.OnRequest(x)
	x.Response.Header.Append("Content-Type", "application/grpc")
	h.OnResponse(x)
	if !x.Response.Body.(message.Ready).Ready() || x.Request.Body != nil {
		t.Error("a call without bodies has none, and its trailer is there")
	}
}

// TestAllocations is the budget of a call: the frame at its end.
func TestAllocations(t *testing.T) {
	g := policytest.New(t, "policies: [{ grpc_web: {} }]", Kind)
	for _, c := range []struct {
		contentType string
		answer      float64
	}{
		{"application/grpc-web+proto", 0}, {"application/grpc-web-text", 0}, {"application/grpc", 0}, {"text/plain", 0},
	} {
		policytest.Allocs(t, g, 0, c.answer, func(x *message.Exchange) {
			g.Fill(x, "POST", "/a.B/C", "Content-Type", c.contentType)
		})
	}
	h := g.Hooks()
	trailer := &message.Header{}
	trailer.Append("grpc-status", "0")
	x := &message.Exchange{}
	message5 := frame(0, "World")
	body := message.NewBytes(nil)
	answered := &trailed{trailer: trailer}
	whole := func(contentType, asked string) func() {
		data, reply := []byte(asked), []byte(message5)
		return func() {
			g.Fill(x, "POST", "/a.B/C", "Content-Type", contentType)
			body.Reset(data)
			x.Request.Body = body
			h.OnRequest(x)
			drain(t, x.Request.Body)
			x.Response.Status = 200
			x.Response.Header.Append("Content-Type", "application/grpc")
			answered.Reset(reply)
			x.Response.Body = answered
			h.OnResponse(x)
			drain(t, x.Response.Body)
		}
	}
	for _, c := range []struct {
		contentType, asked string
		most               float64
	}{
		{"application/grpc-web+proto", message5, 1},
		{"application/grpc-web-text", text(message5, 100), 2},
	} {
		do := whole(c.contentType, c.asked)
		do()
		do()
		if n := testing.AllocsPerRun(200, do); n > c.most && !raceEnabled {
			t.Errorf("%s costs %v allocations, %v are allowed", c.contentType, n, c.most)
		}
	}
}

// trailed is a body in memory with a trailer.
type trailed struct {
	message.Bytes
	trailer *message.Header
}

func (b *trailed) Trailer() *message.Header { return b.trailer }

func drain(t *testing.T, body message.Body) {
	for {
		if _, err := body.Next(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzCalls sends anything through as a request and as an answer.
func FuzzCalls(f *testing.F) {
	f.Add("application/grpc-web-text", text(frame(0, "World"), 2), uint8(3), "0")
	f.Add("application/grpc-web+proto", frame(1, "World"), uint8(3), "")
	f.Add("application/grpc", "", uint8(0), "5")
	f.Fuzz(func(t *testing.T, contentType, body string, chunk uint8, status string) {
		h := hooks(t, 1024)
		x := ask(contentType, cut(body, int(chunk)+1, int64(len(body))))
		h.OnRequest(x)
		got, err := read(x.Request.Body)
		if err != nil {
			if problem := (*message.Problem)(nil); !errors.As(err, &problem) {
				t.Errorf("%v is no problem", err)
			}
		} else if n := x.Request.Body.Length(); n >= 0 && n != int64(len(got)) {
			t.Errorf("%d bytes, %d were announced", len(got), n)
		}
		answer := cut(body, int(chunk)+1, -1)
		answer.trailer = &message.Header{}
		answer.trailer.Add("grpc-status", status)
		x.Response.Header.Append("Content-Type", "application/grpc")
		x.Response.Body = answer
		h.OnResponse(x)
		if _, err := read(x.Response.Body); err != nil {
			t.Error(err)
		}
	})
}
