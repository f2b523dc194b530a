// Package requestid gives every request an id that the origin, the client and the logs share.
//
// The id is 128 random bits, written as 32 lower-case hexadecimal digits: the form
// of a trace id (W3C Trace Context §3.2.2.3). The bits come from the generator of
// the Go runtime, ChaCha8 with a state for each thread, seeded by the operating
// system: no lock, no clock, no system call for a request. Ids cannot be guessed
// from earlier ones, yet an id is a name and not a secret: it stands in logs.
package requestid

import (
	"embed"
	"fmt"
	"math/rand/v2"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy request_id.
var Kind = policy.Define("request_id", policy.Edge, files, build)

// MaxAccepted is the length in bytes of the longest id that is taken over from a
// client: longer ones would make every log line and every request to an origin dear.
const MaxAccepted = 128

// naming is one request_id policy.
type naming struct {
	header string
	accept bool
}

func build(c *Config, _ *policy.Env) (policy.Hooks, error) {
	if !message.ValidName(c.Header) {
		return policy.Hooks{}, fmt.Errorf("header %q is not the name of a field: use letters, digits and hyphens", c.Header)
	}
	if reserved(c.Header) {
		return policy.Hooks{}, fmt.Errorf("header %q frames or routes a message and cannot carry an id: use X-Request-Id, or a name of your own", c.Header)
	}
	n := &naming{header: c.Header, accept: c.Accept}
	hooks := policy.Hooks{OnRequest: n.onRequest}
	if c.Answer {
		hooks.OnResponse = n.onResponse
	}
	return hooks, nil
}

// reserved says whether a field belongs to the wires, or is one that a policy in
// front of an origin must not overwrite.
func reserved(name string) bool {
	for _, r := range [...]string{
		"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive",
		"TE", "Trailer", "Upgrade", "Expect", "Via", "Date", "Cookie", "Set-Cookie", "Authorization",
	} {
		if message.EqualFold(name, r) {
			return true
		}
	}
	return false
}

// onRequest costs one allocation: the string of a new id, which outlives the
// exchange in logs and so cannot be a view. A request that has been given an id
// already keeps it: one exchange, one id, however many policies name it.
func (n *naming) onRequest(x *message.Exchange) message.Verdict {
	if x.Facts.RequestID == "" {
		x.Facts.RequestID = n.choose(&x.Request.Header)
	}
	x.Request.Header.Set(n.header, x.Facts.RequestID)
	return message.Next
}

func (n *naming) choose(h *message.Header) string {
	if n.accept {
		// Two different ids are none: whom should the logs believe?
		if id := h.Get(n.header); acceptable(id) && h.Count(n.header) == 1 {
			return id
		}
	}
	return newID()
}

// onResponse replaces what the origin sent under this name: the id that the client
// sees is the one in the gateway's log.
func (n *naming) onResponse(x *message.Exchange) message.Verdict {
	x.Response.Header.Set(n.header, x.Facts.RequestID)
	return message.Next
}

// acceptable says whether an id that a client chose may go into logs and on to
// origins: 1 to MaxAccepted bytes, of the characters that occur in UUIDs, base64
// and the ids of clouds, and that need no escaping in JSON, in a quoted string or
// in a terminal.
func acceptable(id string) bool {
	if len(id) == 0 || len(id) > MaxAccepted {
		return false
	}
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '~', c == ':', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return true
}

// newID returns 32 hexadecimal digits.
func newID() string {
	const digits = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		bits := rand.Uint64()
		for i := range 16 {
			id[half*16+i] = digits[bits&15]
			bits >>= 4
		}
	}
	return string(id[:])
}
