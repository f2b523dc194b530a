package compile

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/internal/keep"
	"github.com/sluice-gateway/sluice/target"
)

// target builds the route's one target, and those within it.
func (b *build) target(r *sharedRoute, item config.Item[config.Route]) {
	from := item.Value
	keyed := b.one(item, from.Targets, b.compiler.kinds, "target", "name", "match", "policies", "upgrades")
	if keyed == nil {
		return
	}
	n := &nest{build: b, finder: finder{build: b}, route: from.Name.Value, lease: b.compiler.keeper.Lease()}
	settings := item.Node(keyed.Settings)
	handler, err := n.make(b.compiler.targets[keyed.Kind], settings, 1)
	if err != nil {
		b.add(settings.Locate(errors.Join(err, closeAll(n.closers), n.lease.Close())))
		return
	}
	if !n.lease.Empty() {
		n.closers = slices.Insert(n.closers, 0, n.lease.Close) // All targets are closed before.
	}
	handler.Close, r.rollouts = n.close(), n.rollouts
	r.route.Target, r.route.Kind, r.upstreams = handler, keyed.Kind, n.finder.found
}

// nest is the targets of one route while they are built: one that stands within another is
// built when that one asks for it.
type nest struct {
	build     *build
	finder    finder
	route     string
	closers   []func() error // inner targets come first
	upstreams []string
	words     []string
	lease     *keep.Lease
	rollouts  []target.Rollout
}

// make builds a target at a depth, which is 1 for the route's own.
func (n *nest) make(kind *target.Kind, settings *config.Node, depth int) (target.Handler, error) {
	options := &n.build.compiler.options
	env := &target.Env{
		Route:    n.route,
		Logger:   options.Logger,
		Metrics:  options.Metrics,
		Upstream: n.finder.find,
		Build:    func(inner *target.Nested) (target.Handler, error) { return n.within(inner, depth+1) },
		Dry:      n.build.dry,
		Folder:   filepath.Dir(n.build.doc.Main),
		Lease:    n.lease,
		Rollouts: &n.rollouts,
	}
	outside, told := n.upstreams, n.words
	n.upstreams, n.words = nil, nil // those of the targets within this one
	handler, err := kind.Build(settings, env)
	if err != nil {
		return target.Handler{}, err
	}
	if handler.Close != nil {
		n.closers = append(n.closers, handler.Close)
	}
	handler.Upstreams = merge(handler.Upstreams, n.upstreams)
	n.upstreams = merge(outside, handler.Upstreams)
	handler.Words = append(handler.Words, n.words...)
	n.words = append(told, handler.Words...)
	return handler, nil
}

// merge adds the names that are not there.
func merge(names, more []string) []string {
	names = slices.Clone(names)
	for _, name := range more {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// within builds a target that stands in the settings of another one.
func (n *nest) within(inner *target.Nested, depth int) (target.Handler, error) {
	if len(inner.Kinds) == 0 {
		return target.Handler{}, errors.New("compile: a target within another one was not decoded")
	}
	var errs []error
	names := make([]string, len(inner.Kinds))
	for i := range inner.Kinds {
		names[i] = inner.Kinds[i].Name
	}
	at := theOne(names, n.build.compiler.kinds, "target", inner.Kinds[0].Beside, func(i int, message string) {
		errs = append(errs, nodeOf(inner.Kinds[i].Key).Locate(errors.New(message)))
	})
	if at < 0 {
		return target.Handler{}, errors.Join(errs...)
	}
	if depth > target.MaxDepth {
		message := fmt.Errorf("this target stands within %d others; the limit is %d", depth-1, target.MaxDepth-1)
		return target.Handler{}, nodeOf(inner.Kinds[at].Key).Locate(message)
	}
	settings := nodeOf(inner.Kinds[at].Value)
	handler, err := n.make(n.build.compiler.targets[names[at]], settings, depth)
	if err := errors.Join(append(errs, settings.Locate(err))...); err != nil {
		return target.Handler{}, err
	}
	handler.Close = nil // The route's handler does that.
	return handler, nil
}

// close ends the targets, each after those around it, which may still use it; nil where
// none has anything to end.
func (n *nest) close() func() error {
	if len(n.closers) == 0 {
		return nil
	}
	closers := slices.Clone(n.closers)
	slices.Reverse(closers)
	return func() error { return closeAll(closers) }
}

func nodeOf(n any) *config.Node { return n.(*config.Node) }
