package section

import (
	"errors"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// closing is a body that notes that it was closed.
type closing struct {
	*message.Bytes
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

func TestPlanBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		status int
		body   bool
		length int64 // what resp.Length says
		want   Plan
		closed bool
	}{
		{"GET", 200, true, -1, Plan{5, true}, false},
		{"GET", 200, false, -1, Plan{-1, false}, false},
		{"GET", 200, false, 7, Plan{-1, false}, false},
		{"HEAD", 200, true, -1, Plan{5, false}, true},
		{"HEAD", 200, false, 7, Plan{7, false}, false},
		{"HEAD", 200, false, -1, Plan{-1, false}, false},
		{"GET", 304, false, 7, Plan{7, false}, false},
		{"GET", 204, true, -1, Plan{-1, false}, true},
		{"GET", 204, false, 7, Plan{-1, false}, false},
	} {
		x := &message.Exchange{}
		x.Request.Method, x.Response.Status, x.Response.Length = test.method, test.status, test.length
		body := &closing{Bytes: message.NewBytes([]byte("hello"))}
		if test.body {
			x.Response.Body = body
		}
		if got := PlanBody(x); got != test.want || body.closed != test.closed {
			t.Errorf("%+v: %+v, closed %v", test, got, body.closed)
		}
	}
}

func TestBrokenBody(t *testing.T) {
	t.Parallel()
	if err := BrokenBody(message.DeadlineExceeded); err != message.DeadlineExceeded {
		t.Errorf("a problem became %v", err)
	}
	err := BrokenBody(errors.New("short"))
	if p, ok := err.(*message.Problem); !ok || p.Code != message.UpstreamBodyBroken.Code || p.Detail != "short" {
		t.Errorf("%v", err)
	}
}
