// Package policy is what the author of a policy imports.
//
// A policy is a folder under policies/ with one exported variable, Kind, made by
// Define. It is built once per place in the configuration where it stands, and
// its hooks run for every exchange that passes that place.
package policy

import (
	"embed"

	"github.com/sluice-gateway/sluice/message"
)

// Stage decides the order in which the policies of a route run; inside a stage
// it is the order in which they are written.
type Stage uint8

const (
	Edge      Stage = iota // may it come in at all? Runs before the route is known where it stands at the top level.
	Identify               // who is it?
	Authorize              // may they?
	Limit                  // how much?
	Inspect                // is it well-formed and safe?
	Serve                  // do we know the answer already?
	Transform              // what must change?
)

func (s Stage) String() string {
	return [...]string{"edge", "identify", "authorize", "limit", "inspect", "serve", "transform"}[s]
}

// OnFault is what happens when a policy cannot decide.
type OnFault uint8

const (
	FaultDeny  OnFault = iota // answer 503 policy_fault
	FaultAllow                // carry on as if the policy were not there
)

func (f OnFault) String() string {
	if f == FaultAllow {
		return "allow"
	}
	return "deny"
}

// DefaultOnFault is the choice of a stage: what protects denies, what saves work
// allows.
func (s Stage) DefaultOnFault() OnFault {
	if s == Limit || s == Serve {
		return FaultAllow
	}
	return FaultDeny
}

// Hooks are one policy in one place. A nil hook costs nothing. They are called
// by the goroutines of many exchanges at once; fields stand in the order in
// which time reaches them.
type Hooks struct {
	// OnRequest runs before the target, in stage order.
	OnRequest func(x *message.Exchange) message.Verdict
	// OnResponse runs when x.Response is filled and not yet sent, in reverse order,
	// for every policy whose OnRequest ran (or that has none and was passed), also
	// when the answer is a problem.
	OnResponse func(x *message.Exchange) message.Verdict
	// OnDone runs exactly once after the last byte, whatever happened, for every
	// policy whose OnRequest ran or was passed.
	OnDone func(x *message.Exchange)
	// Close runs once, when no exchange uses this policy any more.
	Close func() error
}

// Decoder fills a settings value from the configuration; config.Node is one.
// The error says file, line and column.
type Decoder interface{ Decode(into any) error }

// Kind is a kind of policy. It is immutable.
type Kind struct {
	Name  string
	Stage Stage
	Files embed.FS // README.md and schema.json

	settings   func() any
	build      func(settings any, env *Env) (Hooks, error)
	credential func() any
	problems   []*message.Problem
}

// Option adds to a Kind what not every policy has.
type Option func(*Kind)

// Problems declares the problems that a policy answers with, for the documentation.
func Problems(problems ...*message.Problem) Option {
	return func(k *Kind) { k.problems = append(k.problems, problems...) }
}

// Credential declares that consumers may have credentials of the type C under
// the name of this policy.
func Credential[C any]() Option {
	return func(k *Kind) { k.credential = func() any { return new(C) } }
}

// Define makes a Kind. C is its settings: a struct whose tags config documents.
func Define[C any](name string, stage Stage, files embed.FS, build func(c *C, env *Env) (Hooks, error), options ...Option) Kind {
	k := Kind{
		Name:     name,
		Stage:    stage,
		Files:    files,
		settings: func() any { return new(C) },
		build:    func(settings any, env *Env) (Hooks, error) { return build(settings.(*C), env) },
	}
	for _, option := range options {
		option(&k)
	}
	return k
}

// NewSettings returns a pointer to an empty settings value, for the schema.
func (k *Kind) NewSettings() any { return k.settings() }

// NewCredential returns a pointer to an empty credential, or nil.
func (k *Kind) NewCredential() any {
	if k.credential == nil {
		return nil
	}
	return k.credential()
}

// Problems lists what the policy answers with.
func (k *Kind) Problems() []*message.Problem { return k.problems }

// Build decodes the settings and makes the hooks.
func (k *Kind) Build(settings Decoder, env *Env) (Hooks, error) {
	c := k.settings()
	if err := settings.Decode(c); err != nil {
		return Hooks{}, err
	}
	return k.build(c, env)
}
