// Package eventstream sends comments to clients of server-sent events while the origin is silent.
//
// What it adds are comments of the format (WHATWG HTML §9.2), which clients skip. It needs no goroutine: it
// waits for the origin's body with a limit (message.Waiter).
package eventstream

import (
	"embed"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy event_stream.
var Kind = policy.Define("event_stream", policy.Transform, files, build)

// keeper is one event_stream in one place.
type keeper struct {
	every time.Duration
	sent  *meter.Counter
	local policy.Local[stream]
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	k := &keeper{every: c.KeepAlive.Std(), local: policy.NewLocal[stream](env)}
	k.sent = env.Metrics.Counter("sluice_event_stream_comments_total", "Comments that were sent while an origin was silent.")
	return policy.Hooks{OnResponse: k.onResponse}, nil
}

// onResponse allocates nothing.
func (k *keeper) onResponse(x *message.Exchange) message.Verdict {
	r := &x.Response
	if r.Status != 200 || r.Body == nil || r.Body.Length() >= 0 || !events(r.Header.Get("Content-Type")) {
		return message.Next
	}
	waiter, ok := r.Body.(message.Waiter)
	// Into what is encoded nothing can be put.
	if coding := r.Header.Get("Content-Encoding"); !ok || coding != "" && !message.EqualFold(coding, "identity") {
		return message.Next
	}
	s := k.local.At(x)
	*s = stream{inner: r.Body, waiter: waiter, keeper: k, shard: x.Shard}
	r.Body = s
	return message.Next
}

// events says whether a Content-Type is that of server-sent events.
func events(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return message.EqualFold(message.TrimOWS(media), "text/event-stream")
}

// stream is the answer's body. It lives in the exchange's room.
type stream struct {
	inner  message.Body
	waiter message.Waiter
	keeper *keeper
	shard  uint32
	// tail is the end of what has passed: the last three bytes, the last one lowest.
	tail uint32
	any  bool
}

// Comments. The longer one ends an event, so it may only stand between two.
var (
	between = []byte(":\n\n")
	within  = []byte(":\n")
)

// Next implements message.Body.
func (s *stream) Next() ([]byte, error) {
	for !s.waiter.Wait(s.keeper.every) {
		if comment := s.comment(); comment != nil {
			s.keeper.sent.Add(s.shard, 1)
			return comment, nil
		}
	}
	chunk, err := s.inner.Next()
	for _, b := range chunk[max(0, len(chunk)-3):] {
		s.tail = s.tail<<8 | uint32(b)
		s.any = true
	}
	return chunk, err
}

// comment is what may stand here: in the middle of a line nothing. A CR may be half of a line's end.
func (s *stream) comment() []byte {
	last, before, first := byte(s.tail), byte(s.tail>>8), byte(s.tail>>16)
	switch {
	case !s.any:
		return between
	case last != '\n':
		return nil
	case before == '\n', before == '\r' && (first == '\n' || first == '\r'):
		return between
	}
	return within
}

// Ready implements message.Ready.
func (s *stream) Ready() bool {
	r, ok := s.inner.(message.Ready)
	return ok && r.Ready()
}

// Wait implements message.Waiter.
func (s *stream) Wait(d time.Duration) bool { return s.waiter.Wait(d) }

// Length implements message.Body: comments have no number.
func (s *stream) Length() int64 { return -1 }

// Trailer implements message.Body.
func (s *stream) Trailer() *message.Header { return s.inner.Trailer() }

// Close implements message.Body.
func (s *stream) Close() error { return s.inner.Close() }
