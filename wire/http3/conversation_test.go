package http3

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// A client may be silent for long, and slow, once its answer has begun, and in a gRPC call; else it may not.
func TestConversation(t *testing.T) {
	t.Parallel()
	answerFirst := func(x *message.Exchange) {
		x.Response.Status, x.Response.Body = 200, x.Request.Body
		_ = x.Wire().Respond(x)
	}
	answerLast := func(x *message.Exchange) {
		if _, err := message.ReadAll(x.Request.Body, 1<<20); err == message.RequestBodyTooSlow {
			x.Response.Status = 408
			_ = x.Wire().Respond(x)
			return
		}
		answerFirst(x)
	}
	for name, c := range map[string]struct {
		head    string
		handler handler
		silent  time.Duration
		want    string
	}{
		"the answer has begun":      {post("/"), answerFirst, longestSilence - time.Minute, "200"},
		"for ever":                  {post("/"), answerFirst, longestSilence, "reset 0x102"},
		"a call before it has":      {post("/", "content-type: application/grpc"), answerLast, 9 * time.Minute, "200"},
		"a call, longer":            {post("/", "content-type: application/grpc"), answerLast, 10 * time.Minute, "408"},
		"another request before it": {post("/", "content-type: application/json"), answerLast, time.Minute, "408"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{})
			// Whoever waits for it for more than half a microsecond is too slow for the rate.
			r := newRig(t, Limits{BodyTimeout: time.Microsecond, IdleTimeout: 10 * time.Minute, MinimumBodyRate: 1 << 40}, handler(func(x *message.Exchange) {
				close(begun)
				c.handler(x)
			}))
			look := r.hold()
			s := r.dial().request(c.head, false)
			<-begun // The head has a time of its own.
			for range 3 {
				r.awaitReader()
				now := clock()
				look(now)
				look(now + int64(c.silent))
				_, _ = s.Write([]byte(data))
			}
			_ = s.Close()
			if a := receive(s); !strings.HasSuffix(a.String(), c.want) {
				t.Error(a)
			}
		})
	}
}

// awaitReader waits until somebody waits for the client of the only request, or until that is over.
func (r *rig) awaitReader() {
	r.t.Helper()
	for end := time.Now().Add(ample); time.Now().Before(end); time.Sleep(time.Millisecond) {
		waits := false
		r.server.patrol.each(func(c *serverConn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			waits = waits || c.taken > 0 && (c.first == nil || c.first.reading.number.Load()%2 == 1)
		})
		if waits {
			return
		}
	}
	r.t.Fatal("nobody waits for the client")
}
