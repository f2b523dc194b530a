package http2

import (
	"testing"
	"time"
)

// Timeouts of a conversation in which each side is silent for longer than a body may be, but not both.
const (
	clientSilence = 500 * time.Millisecond
	originSilence = 4 * time.Second
	speaksEach    = 600 * time.Millisecond
	says          = 8
)

// TestConversation has a client that speaks slowly while the origin listens: its answer has begun, or it is a
// gRPC call.
func TestConversation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields      []string
		answerFirst bool
		want        string
	}{
		"the answer has begun":   {nil, true, "end 1"},
		"a call before it has":   {[]string{"content-type", "application/grpc"}, false, "end 1"},
		"another one before":     {[]string{"content-type", "application/json"}, false, ""},
		"the origin speaks last": {[]string{"content-type", "application/grpc+proto"}, true, "end 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serveRaw(t, ClientLimits{BodyTimeout: originSilence})
			g := serve(t, Limits{BodyTimeout: clientSilence, MinimumBodyRate: 1 << 40}, forward(o.conn))
			go func() {
				o.begin()
				id := o.request()
				head := frame(frameHeaders, flagEndHeaders, id, field(":status", "200"))
				if c.answerFirst {
					o.send(head)
				}
				for heard := 0; heard < says; {
					f, err := o.read()
					if err != nil || f.kind == frameReset {
						return
					}
					if f.kind == frameData && len(f.payload) > 0 {
						heard += len(f.payload)
					}
				}
				if !c.answerFirst {
					o.send(head)
				}
				o.send(dataFrame(id, true, "whole"))
			}()
			p := dialRaw(t, g.address()).send(greeting)
			p.send(postFrame(1, "/", c.fields...))
			if c.answerFirst {
				p.until("headers 1 200")
			}
			if c.want == "" {
				p.until("headers 1 408")
				return
			}
			for range says {
				time.Sleep(speaksEach)
				p.send(dataFrame(1, false, "x"))
			}
			p.until(c.want)
		})
	}
}
