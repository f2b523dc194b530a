package upstream

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
)

// origin answers with its own name, or with its error.
type origin struct {
	name string
	err  error
}

func (o *origin) Name() string { return o.name }

func (o *origin) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error {
	if req != &x.Request || resp != &x.Response {
		return errors.New("not the exchange's own request and answer")
	}
	x.Facts.Upstream, resp.Status = o.name, 200
	return o.err
}

func env(origins ...*origin) *target.Env {
	return &target.Env{Upstream: func(name string) (target.RoundTripper, error) {
		for _, o := range origins {
			if o.name == name {
				return o, nil
			}
		}
		return nil, errors.New("no upstream " + name)
	}}
}

func TestServe(t *testing.T) {
	o := &origin{name: "orders"}
	c := Config("orders")
	h, err := build(&c, env(o))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.Upstreams, []string{"orders"}) || h.Close != nil {
		t.Errorf("upstreams %q, close %v", h.Upstreams, h.Close != nil)
	}
	x := &message.Exchange{}
	if err := h.Serve(x); err != nil || x.Response.Status != 200 || x.Facts.Upstream != "orders" {
		t.Errorf("status %d from %q: %v", x.Response.Status, x.Facts.Upstream, err)
	}
	o.err = message.UpstreamBusy
	if err := h.Serve(x); err != message.UpstreamBusy {
		t.Errorf("the error is %v", err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = h.Serve(x) }); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "name of an upstream is missing", "order": "no upstream order"} {
		c := Config(name)
		if _, err := build(&c, env(&origin{name: "orders"})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
