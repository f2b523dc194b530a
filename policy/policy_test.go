package policy

import (
	"embed"
	"errors"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

type settings struct{ Word string }

// decoder fills settings, or fails.
type decoder struct{ err error }

func (d decoder) Decode(into any) error {
	if s, ok := into.(*settings); ok {
		s.Word = "given"
	}
	return d.err
}

func TestDefine(t *testing.T) {
	t.Parallel()
	problem := &message.Problem{Status: 418, Code: "teapot"}
	wrong := errors.New("wrong")
	k := Define("tea", Serve, embed.FS{}, func(s *settings, env *Env) (Hooks, error) {
		if s.Word != "given" {
			t.Errorf("build sees %q", s.Word)
		}
		if env.Dry {
			return Hooks{}, wrong
		}
		return Hooks{OnDone: func(*message.Exchange) {}}, nil
	}, Problems(problem), Credential[settings]())

	if k.Name != "tea" || k.Stage != Serve || len(k.Problems()) != 1 || k.Problems()[0] != problem {
		t.Errorf("%+v", k)
	}
	if h, err := k.Build(decoder{}, &Env{}); err != nil || h.OnDone == nil {
		t.Errorf("Build: %v", err)
	}
	if _, err := k.Build(decoder{}, &Env{Dry: true}); !errors.Is(err, wrong) {
		t.Errorf("the error of build is %v", err)
	}
	if _, err := k.Build(decoder{err: wrong}, &Env{}); !errors.Is(err, wrong) {
		t.Errorf("the error of the decoder is %v", err)
	}
	if a, b := k.NewSettings().(*settings), k.NewSettings().(*settings); a == b || a.Word != "" {
		t.Error("NewSettings does not return a new empty value")
	}
	if _, ok := k.NewCredential().(*settings); !ok {
		t.Errorf("the credential is %T", k.NewCredential())
	}
	bare := Define("bare", Edge, embed.FS{}, func(*settings, *Env) (Hooks, error) { return Hooks{}, nil })
	if bare.NewCredential() != nil {
		t.Error("a kind without credentials has one")
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	for stage, want := range map[Stage]struct {
		name  string
		fault OnFault
	}{
		Edge:      {"edge", FaultDeny},
		Identify:  {"identify", FaultDeny},
		Authorize: {"authorize", FaultDeny},
		Limit:     {"limit", FaultAllow},
		Inspect:   {"inspect", FaultDeny},
		Serve:     {"serve", FaultAllow},
		Transform: {"transform", FaultDeny},
	} {
		if stage.String() != want.name || stage.DefaultOnFault() != want.fault {
			t.Errorf("%d is %s and on fault %s", stage, stage, stage.DefaultOnFault())
		}
	}
	if FaultDeny.String() != "deny" || FaultAllow.String() != "allow" {
		t.Error("on_fault is written deny or allow")
	}
}
