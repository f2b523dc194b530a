package target

import (
	"embed"
	"errors"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// decoder fills a settings value, or fails.
type decoder struct {
	value string
	err   error
}

func (d decoder) Decode(into any) error {
	if d.err == nil {
		*into.(*string) = d.value
	}
	return d.err
}

func TestBuild(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	problem := &message.Problem{Code: "sample"}
	kind := Define("sample", embed.FS{}, func(c *string, env *Env) (Handler, error) {
		if *c == "bad" {
			return Handler{}, refused
		}
		return Handler{Upstreams: []string{*c, env.Route}}, nil
	}, problem)

	h, err := kind.Build(decoder{value: "a"}, &Env{Route: "r"})
	if err != nil || len(h.Upstreams) != 2 || h.Upstreams[0] != "a" || h.Upstreams[1] != "r" {
		t.Errorf("built %v, %v", h.Upstreams, err)
	}
	if _, err := kind.Build(decoder{value: "bad"}, &Env{}); err != refused {
		t.Errorf("what build refuses: %v, want the very error: its place is in it", err)
	}
	wrong := errors.New("wrong settings")
	if _, err := kind.Build(decoder{err: wrong}, &Env{}); err != wrong {
		t.Errorf("settings that cannot be decoded: %v, want the very error", err)
	}
	if a, b := kind.NewSettings(), kind.NewSettings(); a.(*string) == b.(*string) {
		t.Error("two settings are one value")
	}
	if p := kind.Problems(); len(p) != 1 || p[0] != problem {
		t.Errorf("problems %v", p)
	}
}
