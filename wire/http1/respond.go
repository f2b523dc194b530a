package http1

import (
	"io"
	"strconv"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// Started implements message.Wire.
func (c *serverConn) Started() bool { return c.started }

// Abort implements message.Wire.
func (c *serverConn) Abort() { c.closing = true }

// BytesIn implements message.Wire.
func (c *serverConn) BytesIn() int64 {
	return c.headBytes + c.stream.taken() - c.headEnd + c.tunnelIn
}

// BytesOut implements message.Wire.
func (c *serverConn) BytesOut() int64 { return c.bytesOut }

// Respond implements message.Wire.
func (c *serverConn) Respond(x *message.Exchange) error {
	resp := &x.Response
	if resp.Status == 101 && resp.Tunnel != nil {
		return c.respondTunnel(x)
	}
	if err := resp.Settle(); err != nil {
		return err
	}
	c.reconsiderKeepAlive(x)
	plan := c.planBody(x)
	c.openEnded = plan.send && plan.length < 0 && !plan.chunked
	out := c.appendHead(c.work.io.out[:0], x, plan)
	err := c.sendBody(x, out, plan)
	resp.CloseBody()
	if err != nil {
		c.closing = true
		return err
	}
	c.openEnded = false
	return nil
}

// reconsiderKeepAlive closes a connection that cannot be kept: the gateway is
// draining, the problem says so, or too much of the request is left unread.
func (c *serverConn) reconsiderKeepAlive(x *message.Exchange) {
	if p := x.Problem(); p != nil && p.CloseConnection {
		c.closing = true
	}
	if c.server.draining.Load() || x.Response.Early || c.expects && !c.bodyIsHere() {
		c.closing = true
	}
	if c.lent || x.Request.Body == nil && c.framing.length <= 0 {
		return
	}
	b := &c.body
	if b.err != nil && b.err != io.EOF {
		c.closing = true
	}
	if b.kind == fixedBody && b.err == nil && b.remaining-int64(c.stream.buffered()) > UnreadBody {
		c.closing = true
	}
}

// bodyPlan says how an answer's body is framed.
type bodyPlan struct {
	length  int64 // to announce; -1 none
	send    bool
	chunked bool
}

// planBody follows RFC 9112 §6.3.
func (c *serverConn) planBody(x *message.Exchange) bodyPlan {
	resp := &x.Response
	if !message.BodyAllowed(x.Request.Method, resp.Status) {
		plan := bodyPlan{length: resp.Length}
		if resp.Body != nil {
			plan.length = resp.Body.Length()
			resp.CloseBody()
		}
		if resp.Status < 200 || resp.Status == 204 {
			plan.length = -1
		}
		return plan
	}
	if resp.Body == nil {
		return bodyPlan{length: 0}
	}
	plan := bodyPlan{length: resp.Body.Length(), send: true}
	if plan.length < 0 {
		plan.chunked = x.Request.Protocol == "HTTP/1.1"
		c.closing = c.closing || !plan.chunked
	}
	return plan
}

// appendHead appends the head of the answer.
func (c *serverConn) appendHead(out []byte, x *message.Exchange, plan bodyPlan) []byte {
	resp := &x.Response
	out = appendStatusLine(out, resp.Status)
	hasDate := false
	for _, f := range resp.Header.Fields() {
		if len(f.Name) == 4 && message.EqualFold(f.Name, "Date") {
			hasDate = true
		}
		out = appendField(out, f.Name, f.Value)
	}
	if !hasDate {
		out = append(out, "Date: "...)
		out = c.server.date.Append(out, x.Times.Started)
		out = append(out, "\r\n"...)
	}
	switch {
	case plan.chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	case plan.length >= 0:
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, plan.length, 10)
		out = append(out, "\r\n"...)
	}
	return append(c.appendConnection(out, x), "\r\n"...)
}

func (c *serverConn) appendConnection(out []byte, x *message.Exchange) []byte {
	switch {
	case c.closing:
		return append(out, "Connection: close\r\n"...)
	case x.Request.Protocol == "HTTP/1.0":
		return append(out, "Connection: keep-alive\r\n"...)
	}
	return out
}

func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, "\r\n"...)
}

// sendBody writes the head in out and then the body. What is there already leaves
// together with the head; nothing waits for what is not.
func (c *serverConn) sendBody(x *message.Exchange, out []byte, plan bodyPlan) error {
	if !plan.send {
		return c.flush(out, nil)
	}
	body := x.Response.Body
	ready, _ := body.(message.Ready)
	left := plan.length
	for {
		if len(out) > 0 && (ready == nil || !ready.Ready()) {
			if err := c.flush(out, nil); err != nil {
				return err
			}
			out = out[:0]
		}
		chunk, err := body.Next()
		if err == io.EOF {
			return c.finishBody(body, out, plan, left)
		}
		if err != nil {
			return section.BrokenBody(err)
		}
		if plan.length >= 0 {
			if left -= int64(len(chunk)); left < 0 {
				return message.UpstreamBodyBroken.WithDetail("the body is longer than announced")
			}
		}
		if out, err = c.sendChunk(out, chunk, plan.chunked); err != nil {
			return err
		}
	}
}

// sendChunk puts a chunk behind what waits in out, if it fits, or writes both.
func (c *serverConn) sendChunk(out, chunk []byte, chunked bool) ([]byte, error) {
	if chunked {
		out = strconv.AppendUint(out, uint64(len(chunk)), 16)
		out = append(out, "\r\n"...)
	}
	const crlf = 2
	if len(out)+len(chunk)+crlf+len(lastChunk) <= cap(out) {
		out = append(out, chunk...)
	} else {
		if err := c.flush(out, chunk); err != nil {
			return nil, err
		}
		out = out[:0]
	}
	if chunked {
		out = append(out, "\r\n"...)
	}
	return out, nil
}

const lastChunk = "0\r\n\r\n"

// finishBody ends the body and writes what still waits.
func (c *serverConn) finishBody(body message.Body, out []byte, plan bodyPlan, left int64) error {
	if plan.length >= 0 && left != 0 {
		return message.UpstreamBodyBroken.WithDetail("the body is shorter than announced")
	}
	if plan.chunked {
		out = append(out, "0\r\n"...)
		if t := body.Trailer(); t != nil {
			for _, f := range t.Fields() {
				out = appendField(out, f.Name, f.Value)
			}
		}
		out = append(out, "\r\n"...)
	}
	if len(out) == 0 {
		return nil
	}
	return c.flush(out, nil)
}

// writePart is how much a client has to take in the time of one write. A body in memory may be so
// long that one who reads all the time would be too late for it.
const writePart = 64 << 10

// flush writes; a client that does not read for too long is given up.
func (c *serverConn) flush(a, b []byte) error {
	c.started = true
	if c.lent && !c.answering.Load() {
		c.answering.Store(true)
	}
	var err error
	for first := true; err == nil && (first || len(b) > 0); first = false {
		part := b[:min(len(b), writePart)]
		n := 0
		c.stream.sock.allowWrite(clock(), c.limits.WriteTimeout)
		n, err = c.stream.sock.write(a, part)
		c.bytesOut += int64(n)
		a, b = nil, b[len(part):]
	}
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		return message.ClientTooSlow
	}
	return message.ClientWriteFailed
}

// sendContinue tells the client to send its body (RFC 9110 §10.1.1).
func (c *serverConn) sendContinue() {
	c.expects = false
	if !c.started {
		_ = c.interim("HTTP/1.1 100 Continue\r\n\r\n")
	}
}

// Inform implements message.Wire. HTTP/1.0 knows no interim answers (RFC 9110
// §15.2).
func (c *serverConn) Inform(status int, header *message.Header) {
	x := &c.work.x
	if x.Request.Protocol != "HTTP/1.1" || status < 102 || status > 199 || c.started {
		return
	}
	out := appendStatusLine(nil, status)
	for _, f := range header.Fields() {
		out = appendField(out, f.Name, f.Value)
	}
	_ = c.interim(string(append(out, "\r\n"...)))
}

func (c *serverConn) interim(text string) error {
	c.stream.sock.allowWrite(clock(), c.limits.WriteTimeout)
	n, err := c.stream.sock.write([]byte(text), nil)
	c.bytesOut += int64(n)
	return err
}
