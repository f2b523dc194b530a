package compile

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

// ledger counts what kinds open and close, and what they see.
type ledger struct {
	opened, closed atomic.Int64 // things that are kept
	built, ended   atomic.Int64 // hooks and handlers
	dry, wet       atomic.Int64 // builds
}

type kept struct{ l *ledger }

func (k *kept) Close() error {
	k.l.closed.Add(1)
	return nil
}

func (l *ledger) hooks() policy.Hooks {
	l.built.Add(1)
	return policy.Hooks{
		OnRequest: func(*message.Exchange) message.Verdict { return message.Next },
		Close: func() error {
			l.ended.Add(1)
			return nil
		},
	}
}

func (l *ledger) saw(dry bool) {
	if dry {
		l.dry.Add(1)
	} else {
		l.wet.Add(1)
	}
}

type noSettings struct{}

type limitSettings struct {
	Requests int `required:"true" min:"1"`
}

type windowSettings struct {
	Windows []struct {
		Per unit.Duration `required:"true"`
	}
}

type keyCredential struct {
	Key unit.Secret `required:"true"`
}

// kinds stand for those of policies/ and targets/, one for each stage that matters.
func (l *ledger) kinds() ([]policy.Kind, []target.Kind) {
	plain := func(name string, stage policy.Stage) policy.Kind {
		return policy.Define(name, stage, embed.FS{}, func(_ *noSettings, env *policy.Env) (policy.Hooks, error) {
			l.saw(env.Dry)
			env.Vouch("X-" + name)
			return l.hooks(), nil
		})
	}
	key := policy.Define("key", policy.Identify, embed.FS{}, func(_ *noSettings, env *policy.Env) (policy.Hooks, error) {
		l.saw(env.Dry)
		for _, c := range env.Credentials("key") {
			if err := c.Settings.Decode(new(keyCredential)); err != nil {
				return policy.Hooks{}, err
			}
		}
		return l.hooks(), nil
	}, policy.Credential[keyCredential]())
	limit := policy.Define("limit", policy.Limit, embed.FS{}, func(_ *limitSettings, env *policy.Env) (policy.Hooks, error) {
		l.saw(env.Dry)
		if env.Dry {
			return l.hooks(), nil
		}
		_, err := policy.Keep(env, "counters", func() (*kept, error) {
			l.opened.Add(1)
			return &kept{l}, nil
		})
		return l.hooks(), err
	})
	picky := policy.Define("picky", policy.Inspect, embed.FS{}, func(c *windowSettings, env *policy.Env) (policy.Hooks, error) {
		var errs []error
		for i, w := range c.Windows {
			if w.Per.Std() < time.Second {
				errs = append(errs, unit.At(fmt.Sprintf("windows[%d].per", i), errors.New("too short for anybody")))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return policy.Hooks{}, err
		}
		return l.hooks(), nil
	})
	return []policy.Kind{plain("edge", policy.Edge), key, limit, picky, plain("change", policy.Transform)},
		[]target.Kind{l.upstreamKind(), l.answerKind(), l.chainKind()}
}

// chainKind has one target beside its own keys and others behind it.
func (l *ledger) chainKind() target.Kind {
	type settings struct {
		target.Nested
		Then unit.List[target.Nested]
		Name string
	}
	return target.Define("chain", embed.FS{}, func(c *settings, env *target.Env) (target.Handler, error) {
		l.built.Add(1)
		h := target.Handler{Close: func() error {
			l.ended.Add(1)
			return nil
		}}
		var errs []error
		for _, inner := range append([]target.Nested{c.Nested}, c.Then...) {
			built, err := env.Build(&inner)
			errs = append(errs, err)
			if built.Close != nil {
				errs = append(errs, errors.New("somebody else closes it"))
			}
		}
		if c.Name == "bad" {
			errs = append(errs, unit.At("name", errors.New("a bad name")))
		}
		if err := errors.Join(errs...); err != nil {
			l.ended.Add(1) // Who does not hand a handler out closes it himself.
			return target.Handler{}, err
		}
		h.Serve = func(*message.Exchange) error { return nil }
		return h, nil
	})
}

func (l *ledger) upstreamKind() target.Kind {
	return target.Define("upstream", embed.FS{}, func(name *string, env *target.Env) (target.Handler, error) {
		u, err := env.Upstream(*name)
		if err != nil {
			return target.Handler{}, err
		}
		return target.Handler{
			Serve:     func(x *message.Exchange) error { return u.RoundTrip(x, &x.Request, &x.Response) },
			Upstreams: []string{*name},
		}, nil
	})
}

func (l *ledger) answerKind() target.Kind {
	type settings struct {
		Status int `min:"100" max:"599" default:"200"`
	}
	return target.Define("answer", embed.FS{}, func(*settings, *target.Env) (target.Handler, error) {
		l.built.Add(1)
		return target.Handler{
			Serve: func(*message.Exchange) error { return nil },
			Close: func() error {
				l.ended.Add(1)
				return nil
			},
		}, nil
	})
}

func newCompiler(l *ledger) *Compiler {
	registry := observe.NewRegistry()
	policies, targets := l.kinds()
	return New(Options{
		Policies: policies,
		Targets:  targets,
		Gateway:  observe.NewGateway(registry, "", time.Unix(0, 0)),
		Metrics:  registry,
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

// compileFile loads and compiles a file.
func compileFile(t testing.TB, c *Compiler, path string, cache *config.Cache) (*Result, error) {
	t.Helper()
	doc, err := config.Load(path, cache)
	if err != nil {
		return nil, err
	}
	return c.Compile(doc, nil)
}
