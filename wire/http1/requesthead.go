package http1

import (
	"github.com/sluice-gateway/sluice/message"
)

// parseRequest fills x.Request from a complete head. text is the head as one string, of
// which all parts are slices; first is the length of its first line with CRLF.
// The result is nil or why the request is refused.
func parseRequest(text string, first int, x *message.Exchange, f *framing) *message.Problem {
	req := &x.Request
	if p := parseRequestLine(text[:first-2], req); p != nil {
		return p
	}
	if why := parseFields(text[first:], &req.Header, f); why != "" {
		return message.BadRequest.WithDetail(string(why))
	}
	if p := checkTarget(req, f); p != nil {
		return p
	}
	if p := checkRequestFraming(req, f); p != nil {
		return p
	}
	if f.named != "" {
		f.dropNamed(&req.Header)
	}
	if f.teTrailers {
		req.Header.Append("TE", "trailers")
	}
	return nil
}

// parseRequestLine splits "METHOD SP target SP HTTP/1.x" (RFC 9112 §3): one space
// each, nothing else.
func parseRequestLine(line string, req *message.Request) *message.Problem {
	i := 0
	for i < len(line) && message.IsToken(line[i]) {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ' ' {
		return message.BadRequest.WithDetail("the request line does not begin with a method and one space")
	}
	req.Method = line[:i]
	rest := line[i+1:]
	end := 0
	for end < len(rest) && targetTable[rest[end]] {
		end++
	}
	if end == 0 || end == len(rest) || rest[end] != ' ' {
		return badTarget(rest, end)
	}
	req.RawPath = rest[:end]
	switch version := rest[end+1:]; version {
	case "HTTP/1.1", "HTTP/1.0":
		req.Protocol = version
	default:
		if len(version) == 8 && version[:5] == "HTTP/" && isDigit(version[5]) && version[6] == '.' && isDigit(version[7]) {
			return message.VersionUnsupported
		}
		return message.BadRequest.WithDetail("the request line does not end in an HTTP version")
	}
	if req.Method == "CONNECT" {
		return message.ConnectRefused
	}
	return nil
}

func badTarget(rest string, end int) *message.Problem {
	switch {
	case end == len(rest):
		return message.BadRequest.WithDetail("the request line has no HTTP version")
	case end == 0 && rest[0] == ' ':
		return message.BadRequest.WithDetail("the request line has more than one space")
	}
	return message.BadRequest.WithDetail("the request target has a character that is not allowed")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// targetTable marks what may stand in a request target: visible ASCII but '#'.
var targetTable = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '#'
	}
	return t
}()

// checkTarget splits the target into authority, path and query (RFC 9112 §3.2)
// and decides between it and Host.
func checkTarget(req *message.Request, f *framing) *message.Problem {
	if f.hosts > 1 {
		return message.BadRequest.WithDetail("Host is given twice")
	}
	if f.hosts == 0 && req.Protocol == "HTTP/1.1" {
		return message.BadRequest.WithDetail("Host is missing")
	}
	if f.hosts == 1 {
		authority, ok := message.ParseAuthority(f.host)
		if !ok {
			return message.BadRequest.WithDetail("Host is not a valid host and port")
		}
		req.Authority = authority
	}
	target := req.RawPath
	switch {
	case target[0] == '/':
	case target == "*":
		if req.Method != "OPTIONS" {
			return message.BadRequest.WithDetail("the target * is for OPTIONS only")
		}
		return nil
	default:
		path, authority, ok := splitAbsolute(target)
		if !ok {
			return message.BadRequest.WithDetail("the request target is not in origin, absolute or asterisk form")
		}
		req.Authority = authority
		target = path
		if path == "" || path[0] == '?' {
			// RFC 9112 §3.2.4: an empty path with OPTIONS means the server itself.
			if target = "/" + path; path == "" && req.Method == "OPTIONS" {
				target = "*"
			}
		}
	}
	splitQuery(req, target)
	return nil
}

func splitQuery(req *message.Request, target string) {
	for i := 0; i < len(target); i++ {
		if target[i] == '?' {
			req.RawPath, req.Query, req.HasQuery = target[:i], target[i+1:], true
			return
		}
	}
	req.RawPath = target
}

// splitAbsolute cuts "http://authority/path?query" behind the authority.
func splitAbsolute(target string) (path, authority string, ok bool) {
	rest := ""
	switch {
	case len(target) > 7 && message.EqualFold(target[:7], "http://"):
		rest = target[7:]
	case len(target) > 8 && message.EqualFold(target[:8], "https://"):
		rest = target[8:]
	default:
		return "", "", false
	}
	end := 0
	for end < len(rest) && rest[end] != '/' && rest[end] != '?' {
		end++
	}
	authority, ok = message.ParseAuthority(rest[:end])
	return rest[end:], authority, ok
}

// checkRequestFraming refuses whatever two servers could frame differently (RFC
// 9112 §6.1–6.3).
func checkRequestFraming(req *message.Request, f *framing) *message.Problem {
	if f.encodings > 0 {
		switch {
		case f.hasLength:
			return message.BadRequest.WithDetail("Content-Length and Transfer-Encoding stand together")
		case req.Protocol == "HTTP/1.0":
			return message.BadRequest.WithDetail("Transfer-Encoding stands in an HTTP/1.0 request")
		case f.encodings > 1:
			return message.BadRequest.WithDetail("Transfer-Encoding is given twice")
		case f.badCoding:
			return refuseCoding(f)
		}
	}
	if f.expect != "" && !message.EqualFold(f.expect, "100-continue") {
		return message.ExpectationFailed
	}
	return nil
}

// refuseCoding tells a coding that is merely unknown (501, RFC 9112 §6.1) from a
// field that is built wrongly.
func refuseCoding(f *framing) *message.Problem {
	unknown := false
	for rest := f.coding; ; {
		var coding string
		coding, rest = message.NextListItem(rest)
		last := rest == ""
		switch {
		case !message.ValidName(coding), message.EqualFold(coding, "identity"):
			return message.BadRequest.WithDetail("Transfer-Encoding is not chunked")
		case message.EqualFold(coding, "chunked") && !last:
			return message.BadRequest.WithDetail("Transfer-Encoding has chunked not once and last")
		}
		unknown = unknown || !message.EqualFold(coding, "chunked")
		if last && unknown {
			return message.UnknownCoding
		}
		if last {
			return message.BadRequest.WithDetail("Transfer-Encoding is not exactly chunked")
		}
	}
}
