package section

import "github.com/sluice-gateway/sluice/message"

// CheckRequest decides whether a decoded head is a request at all (RFC 9113 §8.3.1, RFC 9114
// §4.3.1, RFC 8441 §4, RFC 9220). The result is why it is malformed, or "".
func (h *Head) CheckRequest() string {
	if h.Wrong != "" {
		return h.Wrong
	}
	extended := h.pseudo&pseudoProtocol != 0
	switch {
	case h.pseudo&pseudoMethod == 0:
		return ":method is missing"
	case !message.ValidName(h.Method):
		return ":method is not a token"
	case extended && h.Method != "CONNECT":
		return ":protocol stands in a request that is not CONNECT"
	case h.Method == "CONNECT" && !extended:
		if h.pseudo&(pseudoScheme|pseudoPath) != 0 || h.pseudo&pseudoAuthority == 0 {
			return "CONNECT has not exactly :method and :authority" // RFC 9113 §8.5.
		}
		return ""
	case h.pseudo&pseudoScheme == 0:
		return ":scheme is missing"
	case h.pseudo&pseudoPath == 0:
		return ":path is missing"
	case h.Path == "":
		return ":path is empty"
	case h.Path == "*" && h.Method != "OPTIONS":
		return ":path is * and the method is not OPTIONS"
	case h.Path[0] != '/' && h.Path != "*":
		return ":path does not begin with a slash"
	case !message.ValidName(h.Protocol) && extended:
		return ":protocol is not a token"
	case !validFieldValue(h.Authority) || !validFieldValue(h.Path) || !validFieldValue(h.Scheme):
		return "a pseudo-field has a control character, or white space at an end"
	}
	return ""
}

// FillRequest makes a request of a well-formed head. The result is nil or why it is refused
// with an answer. protocol is for Request.Protocol; maxTarget bounds :path, in bytes.
func (h *Head) FillRequest(req *message.Request, protocol string, maxTarget int, secure bool) *message.Problem {
	req.Protocol = protocol
	req.Method = h.Method
	req.Scheme = "http"
	if secure {
		req.Scheme = "https"
	}
	if h.TooLarge {
		return message.HeaderTooLarge
	}
	if p := h.fillAuthority(req); p != nil {
		return p
	}
	if h.Method == "CONNECT" {
		if h.Protocol == "" {
			return message.ConnectRefused
		}
		if h.Protocol != "websocket" {
			return message.UnknownProtocol // RFC 9220 §3.
		}
	}
	if h.Scheme != "http" && h.Scheme != "https" {
		return message.BadRequest.WithDetail(":scheme is neither http nor https")
	}
	if len(h.Path) > maxTarget {
		return message.TargetTooLong
	}
	for i := 0; i < len(h.Path); i++ {
		if !targetTable[h.Path[i]] {
			return message.BadRequest.WithDetail("the request target has a character that is not allowed")
		}
	}
	splitQuery(req, h.Path)
	if h.Expect != "" && !message.EqualFold(h.Expect, "100-continue") {
		return message.ExpectationFailed
	}
	if h.trailers {
		req.Header.Append("te", "trailers")
	}
	return nil
}

// fillAuthority takes :authority, or Host without one; where both are there they must mean
// the same (RFC 9113 §8.3.1).
func (h *Head) fillAuthority(req *message.Request) *message.Problem {
	given := h.Authority
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
