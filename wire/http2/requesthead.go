package http2

import "github.com/sluice-gateway/sluice/message"

// checkRequest decides whether a decoded head is a request at all (RFC 9113 §8.3.1, RFC 8441
// §4). The result is why it is malformed, or "".
func (h *head) checkRequest() string {
	if h.wrong != "" {
		return h.wrong
	}
	extended := h.pseudo&pseudoProtocol != 0
	switch {
	case h.pseudo&pseudoMethod == 0:
		return ":method is missing"
	case !message.ValidName(h.method):
		return ":method is not a token"
	case extended && h.method != "CONNECT":
		return ":protocol stands in a request that is not CONNECT"
	case h.method == "CONNECT" && !extended:
		if h.pseudo&(pseudoScheme|pseudoPath) != 0 || h.pseudo&pseudoAuthority == 0 {
			return "CONNECT has not exactly :method and :authority" // RFC 9113 §8.5.
		}
		return ""
	case h.pseudo&pseudoScheme == 0:
		return ":scheme is missing"
	case h.pseudo&pseudoPath == 0:
		return ":path is missing"
	case h.path == "":
		return ":path is empty"
	case h.path == "*" && h.method != "OPTIONS":
		return ":path is * and the method is not OPTIONS"
	case h.path[0] != '/' && h.path != "*":
		return ":path does not begin with a slash"
	case !message.ValidName(h.protocol) && extended:
		return ":protocol is not a token"
	case !validFieldValue(h.authority) || !validFieldValue(h.path) || !validFieldValue(h.scheme):
		return "a pseudo-field has a control character, or white space at an end"
	}
	return ""
}

// fillRequest makes a request of a well-formed head. The result is nil or why it is refused
// with an answer. maxTarget bounds :path.
func (h *head) fillRequest(req *message.Request, maxTarget int, secure bool) *message.Problem {
	req.Protocol = "HTTP/2"
	req.Method = h.method
	req.Scheme = "http"
	if secure {
		req.Scheme = "https"
	}
	if h.tooLarge {
		return message.HeaderTooLarge
	}
	if p := h.fillAuthority(req); p != nil {
		return p
	}
	if h.method == "CONNECT" {
		if h.protocol == "" {
			return message.ConnectRefused
		}
		if h.protocol != "websocket" {
			return message.ConnectRefused.WithDetail("the protocol of an extended CONNECT is not websocket")
		}
	}
	if h.scheme != "http" && h.scheme != "https" {
		return message.BadRequest.WithDetail(":scheme is neither http nor https")
	}
	if len(h.path) > maxTarget {
		return message.TargetTooLong
	}
	for i := 0; i < len(h.path); i++ {
		if !targetTable[h.path[i]] {
			return message.BadRequest.WithDetail("the request target has a character that is not allowed")
		}
	}
	splitQuery(req, h.path)
	if h.expect != "" && !message.EqualFold(h.expect, "100-continue") {
		return message.ExpectationFailed
	}
	if h.trailers {
		req.Header.Append("te", "trailers")
	}
	return nil
}

// fillAuthority takes :authority, or Host without one; where both are there they must mean
// the same (RFC 9113 §8.3.1).
func (h *head) fillAuthority(req *message.Request) *message.Problem {
	given := h.authority
	if h.pseudo&pseudoAuthority == 0 {
		given = h.host
	}
	if given == "" && h.hosts == 0 && h.pseudo&pseudoAuthority == 0 {
		return message.BadRequest.WithDetail(":authority is missing")
	}
	authority, ok := message.ParseAuthority(given)
	if !ok {
		return message.BadRequest.WithDetail(":authority is not a valid host and port")
	}
	req.Authority = authority
	if h.hosts == 0 {
		return nil
	}
	if h.hosts > 1 {
		return message.BadRequest.WithDetail("Host is given twice")
	}
	if host, ok := message.ParseAuthority(h.host); !ok || host != authority {
		return message.BadRequest.WithDetail(":authority and Host differ")
	}
	return nil
}

// targetTable marks what may stand in a request target: visible ASCII but '#'.
var targetTable = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = c != '#'
	}
	return t
}()

func splitQuery(req *message.Request, target string) {
	for i := 0; i < len(target); i++ {
		if target[i] == '?' {
			req.RawPath, req.Query, req.HasQuery = target[:i], target[i+1:], true
			return
		}
	}
	req.RawPath = target
}
