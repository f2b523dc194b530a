package http1

import "github.com/sluice-gateway/sluice/message"

// parseResponse fills resp from a complete head (RFC 9112 §4).
func parseResponse(text string, first int, resp *message.Response, f *framing) fault {
	line := text[:first-2]
	if len(line) < 12 || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' ||
		!isDigit(line[9]) || !isDigit(line[10]) || !isDigit(line[11]) || len(line) > 12 && line[12] != ' ' {
		return "the status line is not HTTP/1.x and three digits"
	}
	if !message.ValidValue(line) {
		return "the status line has a control character"
	}
	resp.Status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	if resp.Status < 100 || resp.Status > 599 {
		return "the status code is not between 100 and 599"
	}
	if why := parseFields(text[first:], &resp.Header, f); why != "" {
		return why
	}
	if line[7] == '0' {
		if f.encodings > 0 {
			return "Transfer-Encoding stands in an HTTP/1.0 answer"
		}
		f.close = f.close || !f.keepAlive
	}
	if f.encodings > 0 && (f.encodings > 1 || f.badCoding) {
		return "Transfer-Encoding is not exactly one chunked"
	}
	if f.encodings > 0 && f.hasLength {
		return "Content-Length and Transfer-Encoding stand together"
	}
	if resp.Status == 204 || resp.Status < 200 {
		if f.encodings > 0 || f.length > 0 {
			return "an answer that has no body announces one"
		}
	}
	if f.named != "" {
		f.dropNamed(&resp.Header)
	}
	return ""
}

// startAnswer decides how the answer's body is framed (RFC 9112 §6.3) and hands it over.
func (c *ClientConn) startAnswer(req *message.Request, resp *message.Response) *Failure {
	f := &c.framing
	c.reusable = !f.close
	resp.Length = f.length
	if resp.Status == 101 {
		return c.startTunnel(req, resp)
	}
	resp.Early = c.upload.unfinished() && (f.close || resp.Status >= 400)
	switch {
	case !message.BodyAllowed(req.Method, resp.Status):
		if c.stream.buffered() > 0 {
			return c.malformedHead("an answer that has no body is followed by bytes")
		}
		c.body.start(noBody, 0)
	case f.chunked:
		c.body.start(chunkedBody, -1)
	case f.hasLength:
		c.body.start(fixedBody, f.length)
	default:
		c.reusable = false
		c.body.start(untilClose, -1)
	}
	if c.body.kind == noBody || c.body.kind == fixedBody && f.length == 0 {
		c.body.finish(true)
		return nil
	}
	resp.SetStream(&c.body)
	return nil
}
