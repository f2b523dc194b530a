package compile

import (
	"errors"
	"slices"
	"strconv"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

// stages is the number of stages.
const stages = int(policy.Transform) + 1

// chain is policies while they are compiled: by stage, and then as they were
// written.
type chain struct {
	steps   [stages][]engine.Step
	closers []func() error // of hooks, and of what they kept
	vouched []string
	count   int
}

// closeAll ends policies and gives back what they kept.
func closeAll(closers []func() error) error {
	var errs []error
	for _, closer := range closers {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// place is where policies stand: it turns what belongs to an entry of the document
// into problems and nodes.
type place interface {
	Node(n config.Node) *config.Node
	Problem(m config.Mark, message string) *config.Problem
}

// topLevel is what all routes share: the consumers and the policies above the routes.
type topLevel struct {
	policies    []*config.Policy
	consumers   []*config.Consumer
	credentials map[string][]policy.CredentialOf
	chain       chain
	edge        []engine.Step
	shared      policy.Shared
	rooms       int
	users       int // snapshots; guarded by Compiler.mu
}

// topLevel compiles the consumers and the policies of all routes, or takes them from
// before if not one of them has changed.
func (b *build) topLevel() {
	if old := b.reuseTopLevel(); old != nil {
		b.result.top = old
	} else {
		b.result.top = b.newTopLevel()
	}
	b.compiler.mu.Lock()
	b.result.top.users++
	b.compiler.mu.Unlock()
	b.result.Snapshot.Edge = b.result.top.edge
}

func (b *build) reuseTopLevel() *topLevel {
	if b.old == nil {
		return nil
	}
	old := b.old.top
	if !sameItems(b.doc.Policies, old.policies) || !sameItems(b.doc.Consumers, old.consumers) {
		return nil
	}
	return old
}

func sameItems[T any](items []config.Item[T], values []*T) bool {
	if len(items) != len(values) {
		return false
	}
	for i := range items {
		if items[i].Value != values[i] {
			return false
		}
	}
	return true
}

func (b *build) newTopLevel() *topLevel {
	top := &topLevel{credentials: map[string][]policy.CredentialOf{}}
	b.result.top = top
	for _, item := range b.doc.Consumers {
		top.consumers = append(top.consumers, item.Value)
		b.consumer(top, item)
		b.pace()
	}
	names := counter{}
	for _, item := range b.doc.Policies {
		top.policies = append(top.policies, item.Value)
		b.policy(&top.chain, item, item.Value, policy.Place{}, names, &top.rooms)
	}
	top.edge = top.chain.steps[policy.Edge]
	return top
}

// consumer collects the credentials of a consumer, and checks them even if no policy
// asks.
func (b *build) consumer(top *topLevel, item config.Item[config.Consumer]) {
	c := item.Value
	before := len(b.problems)
	defer func() { hideQuotes(b.problems[before:]) }()
	consumer := &message.Consumer{Name: c.Name.Value}
	for i, group := range c.Groups {
		consumer.Groups = append(consumer.Groups, group.Value)
		if i > 0 {
			consumer.GroupList += ","
		}
		consumer.GroupList += group.Value
	}
	for _, credential := range c.Credentials {
		keyed := b.one(item, credential.Kinds, b.compiler.credentialKinds(), "credential")
		if keyed == nil {
			continue
		}
		kind := b.compiler.policies[keyed.Kind]
		settings := item.Node(keyed.Settings)
		if err := settings.Decode(kind.NewCredential()); err != nil {
			b.add(err)
			continue // The policy that asks for it would say the same again, and quote the line.
		}
		top.credentials[kind.Name] = append(top.credentials[kind.Name], policy.CredentialOf{Consumer: consumer, Settings: settings})
	}
}

// hideQuotes takes the quoted lines out of problems: somebody may have written a key
// or a password there in plain text, and problems go to logs.
func hideQuotes(problems config.Problems) {
	for _, p := range problems {
		p.Quote = ""
	}
}

func (c *Compiler) credentialKinds() (kinds []string) {
	for _, name := range c.names {
		if c.policies[name].NewCredential() != nil {
			kinds = append(kinds, name)
		}
	}
	return kinds
}

// counter gives names to policies of one kind in one place.
type counter map[string]int

func (c counter) name(kind string) string {
	c[kind]++
	if n := c[kind]; n > 1 {
		return kind + "#" + strconv.Itoa(n)
	}
	return kind
}

// policy compiles one policy into its stage.
func (b *build) policy(into *chain, at place, p *config.Policy, where policy.Place, names counter, rooms *int) {
	keyed := b.one(at, p.Kinds, b.compiler.names, "policy", "on_fault")
	if keyed == nil {
		return
	}
	kind := b.compiler.policies[keyed.Kind]
	where.Name = names.name(kind.Name)
	lease := b.compiler.keeper.Lease()
	top := b.result.top
	env := &policy.Env{
		Place:       where,
		Logger:      b.compiler.options.Logger,
		Metrics:     b.compiler.options.Metrics,
		Credentials: func(kind string) []policy.CredentialOf { return top.credentials[kind] },
		Dry:         b.dry,
		Lease:       lease,
		Shared:      &top.shared,
		Vouched:     &into.vouched,
		Rooms:       rooms,
	}
	settings := at.Node(keyed.Settings)
	hooks, err := kind.Build(settings, env)
	if err != nil {
		b.add(settings.Locate(err))
		_ = lease.Close()
		return
	}
	if hooks.Close != nil {
		into.closers = append(into.closers, hooks.Close)
	}
	if !lease.Empty() {
		into.closers = append(into.closers, lease.Close)
	}
	into.count++
	into.steps[kind.Stage] = append(into.steps[kind.Stage], engine.Step{
		Kind:    kind.Name,
		Name:    where.Name,
		Hooks:   hooks,
		OnFault: onFault(p, kind.Stage),
		Metrics: b.compiler.metrics[kind.Name],
	})
}

// one returns the one key that is a known kind, or nil. Unknown kinds are reported
// with the nearest word that may stand there, and so is a second kind.
func (b *build) one(at place, given []config.Keyed, kinds []string, what string, others ...string) *config.Keyed {
	names := make([]string, len(given))
	for i := range given {
		names[i] = given[i].Kind
	}
	found := theOne(names, kinds, what, others, func(i int, message string) { b.add(at.Problem(given[i].Mark, message)) })
	if found < 0 {
		return nil
	}
	return &given[found]
}

// theOne is the place of the one name that is a known kind, or -1. report is called with the
// places of the others.
func theOne(names, kinds []string, what string, others []string, report func(i int, message string)) int {
	found := -1
	for i, name := range names {
		switch {
		case !slices.Contains(kinds, name):
			known, no := append(slices.Clone(kinds), others...), "there is no "+what+" "
			if len(others) > 0 {
				no = "there is no " + what + " and no key "
			}
			report(i, no+strconv.Quote(name)+config.Meant(name, known, "keys here"))
		case found >= 0:
			report(i, strconv.Quote(name)+" is a second "+what+" here, beside "+strconv.Quote(names[found])+": there can be one")
		default:
			found = i
		}
	}
	return found
}

func onFault(p *config.Policy, stage policy.Stage) policy.OnFault {
	switch p.OnFault.Value {
	case "allow":
		return policy.FaultAllow
	case "deny":
		return policy.FaultDeny
	}
	return stage.DefaultOnFault()
}
