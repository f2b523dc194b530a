// Package grpcweb lets browsers call gRPC: it translates gRPC-Web to gRPC and back.
//
// It follows PROTOCOL-WEB.md of the gRPC project. Messages are passed on as they come: only
// their frames are looked at, and base64 is decoded on the way.
package grpcweb

import (
	"embed"
	"fmt"
	"sync"

	codec "github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy grpc_web.
var Kind = policy.Define("grpc_web", policy.Transform, files, build, policy.Problems(malformed, tooLarge))

var (
	malformed = &message.Problem{
		Status: 400,
		Code:   "grpc_web_malformed",
		Title:  "The request body is not gRPC-Web",
		Source: message.SourceClient,
	}
	tooLarge = &message.Problem{
		Status: 413,
		Code:   "grpc_web_message_too_large",
		Title:  "A message of the request is too large",
		Source: message.SourceClient,
	}
)

// The ways in which a body can be wrong.
var (
	notText   = malformed.WithDetail("The body is not base64.")
	cutText   = malformed.WithDetail("The body ends in the middle of a group of base64.")
	wrongFlag = malformed.WithDetail("A frame is neither a message nor a compressed one.")
)

// translation is one grpc_web in one place.
type translation struct {
	limit    int64
	tooLarge *message.Problem
	buffers  *sync.Pool
	local    policy.Local[call]
	calls    [codec.Text + 1]*meter.Counter
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	t := &translation{
		limit:    c.MessageSize.Bytes(),
		tooLarge: tooLarge.WithDetail(fmt.Sprintf("A message may have %s at the most.", c.MessageSize)),
		buffers:  &sync.Pool{New: func() any { return new(buffer) }},
		local:    policy.NewLocal[call](env),
	}
	for form, name := range map[codec.Form]string{codec.Web: "binary", codec.Text: "text"} {
		t.calls[form] = env.Metrics.Counter("sluice_grpc_web_calls_total", "Calls that were translated from gRPC-Web to gRPC", policy.Label{Name: "form", Value: name})
	}
	return policy.Hooks{OnRequest: t.onRequest, OnResponse: t.onResponse}, nil
}

// call is one exchange that is translated. Its two bodies are read by different
// goroutines.
type call struct {
	form   codec.Form // None: the exchange is left alone
	asked  request
	answer answer
}

// onRequest makes a gRPC call of a gRPC-Web one. It allocates nothing, but for the name of a
// media type other than +proto and +json.
func (t *translation) onRequest(x *message.Exchange) message.Verdict {
	h := &x.Request.Header
	form, _, suffix := codec.Parse(h.Get("Content-Type"))
	if form != codec.Web && form != codec.Text || x.Request.Method != "POST" {
		return message.Next
	}
	t.calls[form].Add(x.Shard, 1)
	h.Set("Content-Type", codec.Media(codec.GRPC, suffix))
	h.Del("X-Grpc-Web")
	h.Set("TE", "trailers") // gRPC's servers want to know that nobody on the way drops them.
	c := t.local.At(x)
	c.form = form
	if x.Request.Body != nil {
		c.asked = request{
			inner: x.Request.Body, length: x.Request.Body.Length(),
			text: form == codec.Text, frames: codec.Frames{Limit: t.limit}, tooLarge: t.tooLarge, home: t.buffers,
		}
		if c.asked.text {
			c.asked.length = -1
		}
		x.Request.Body = &c.asked
	}
	return message.Next
}

// onResponse makes a gRPC-Web answer of a gRPC one. The gateway's own refusals are
// gRPC-Web already, and what is no gRPC, such as a page that says 404, is left as it is:
// clients read its status.
func (t *translation) onResponse(x *message.Exchange) message.Verdict {
	h := &x.Response.Header
	form, _, suffix := codec.Parse(h.Get("Content-Type"))
	if form != codec.GRPC || x.Problem() != nil {
		return message.Next
	}
	c := t.local.At(x)
	if c.form == codec.None {
		return message.Next
	}
	h.Set("Content-Type", codec.Media(c.form, suffix))
	c.answer = answer{inner: x.Response.Body, text: c.form == codec.Text, home: t.buffers}
	if h.Has("grpc-status") {
		// The call was over before its first message: the head is the trailer ("Trailers-Only").
		moveTrailer(&c.answer.head, h)
	}
	x.Response.Body = &c.answer
	return message.Next
}

// moveTrailer takes out of a head what gRPC has put there in place of a trailer: the
// status and the metadata, which is everything that HTTP does not know.
func moveTrailer(to, head *message.Header) {
	fields := head.Fields()
	kept := 0
	for i := range fields {
		if ofHTTP(fields[i].Name) {
			fields[kept] = fields[i]
			kept++
		} else {
			to.Append(fields[i].Name, fields[i].Value)
		}
	}
	head.Truncate(kept)
}

// ofHTTP says whether a field of an answer belongs to HTTP and is no metadata of the call.
func ofHTTP(name string) bool {
	for _, prefix := range [...]string{"content-", "access-control-", "cache-", "strict-transport-", "alt-"} {
		if len(name) >= len(prefix) && message.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	for _, known := range [...]string{"date", "server", "via", "vary", "age", "expires", "set-cookie", "retry-after", "x-request-id"} {
		if message.EqualFold(name, known) {
			return true
		}
	}
	return false
}
