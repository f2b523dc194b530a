package http2

import (
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// TestComplete tells which bodies of unknown length are there as a whole.
func TestComplete(t *testing.T) {
	t.Parallel()
	head := func(flags byte, id uint32) string {
		return frame(frameHeaders, flags, id, fields(":method", "POST", ":scheme", "http", ":authority", "example.com", ":path", "/"))
	}
	for name, test := range map[string]struct {
		behind []string
		want   int64
	}{
		"one frame":        {[]string{frame(frameData, flagEndStream, 1, "hello")}, 5},
		"two":              {[]string{frame(frameData, 0, 1, "he"), frame(frameData, flagEndStream, 1, "llo")}, 5},
		"an empty one":     {[]string{frame(frameData, flagEndStream, 1, "")}, 0},
		"more may come":    {[]string{frame(frameData, 0, 1, "hello")}, -1},
		"with a trailer":   {[]string{frame(frameData, 0, 1, "hello"), frame(frameHeaders, endBoth, 1, fields("x-sum", "1"))}, -1},
		"nothing has come": {nil, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived, looked := make(chan struct{}), make(chan struct{})
			g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
				if x.Request.RawPath == "/later" {
					close(arrived)
					<-looked
					_ = say(x, 200, "")
					return
				}
				<-arrived
				defer close(looked)
				body := x.Request.Body.(*requestBody)
				if got := body.Complete(); got != test.want {
					t.Errorf("it is %d, not %d", got, test.want)
				}
				if err := x.Request.HoldComplete(100); err != nil || x.Request.Whole() != (test.want >= 0) {
					t.Errorf("%v, whole: %v", err, x.Request.Whole())
				}
				if test.want > 0 {
					if text, err := message.ReadAll(x.Request.Body, 100); string(text) != "hello"[:test.want] || err != nil {
						t.Errorf("%q, %v", text, err)
					}
					if got := body.Complete(); got != -1 {
						t.Errorf("a body of which something was taken is complete: %d", got)
					}
				}
				_ = say(x, 200, "")
			}))
			p := dialRaw(t, g.address()).send(greeting, head(flagEndHeaders, 1))
			for _, f := range test.behind {
				p.send(f)
			}
			// What came before the second request has been read when that is served.
			p.send(frame(frameHeaders, endBoth, 3, fields(":method", "GET", ":scheme", "http", ":authority", "example.com", ":path", "/later")))
			p.until("headers 3 200")
		})
	}
}
