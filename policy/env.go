package policy

import (
	"io"
	"log/slog"
	"sync"

	"github.com/sluice-gateway/sluice/internal/keep"
	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
)

// CredentialOf is one credential of one consumer.
type CredentialOf struct {
	Consumer *message.Consumer
	Settings Decoder
}

// Label is one label of a metric.
type Label = meter.Label

// Metrics hands out counters; asking twice for one name and labels returns the
// same counter, so counts survive a reload.
type Metrics interface {
	Counter(name, help string, labels ...Label) *meter.Counter
}

// Place is where a policy stands.
type Place struct {
	// Route is the route's name; "" at the top level, where one policy serves all.
	Route string
	// Name tells two policies of one kind in one place apart: "rate_limit",
	// "rate_limit#2".
	Name string
}

// Env is what a policy is given to be built with. It must not be used after
// build has returned.
type Env struct {
	Place   Place
	Logger  *slog.Logger
	Metrics Metrics
	// Credentials returns every credential of a kind that the configuration has.
	Credentials func(kind string) []CredentialOf
	// Dry says that the configuration is only checked: nothing may be opened.
	Dry bool

	Lease  *Lease  // what Keep has taken for this policy
	Shared *Shared // what Share has made for this snapshot
	// Vouched collects the names under which policies tell the origin who calls.
	Vouched *[]string
	// Rooms counts the places given to NewLocal.
	Rooms *int
}

// Vouch says that the gateway itself puts these fields into requests: whatever a
// client sends under these names, in any spelling, is removed on arrival, on
// every route.
func (e *Env) Vouch(names ...string) {
	if e.Vouched != nil {
		*e.Vouched = append(*e.Vouched, names...)
	}
}

// Shared holds what the policies of one snapshot share.
type Shared struct {
	mu   sync.Mutex
	made map[string]any
}

// Share returns the value that was made under this key for this snapshot, and
// makes it if it is the first to ask: an index of all consumers is built once, not
// once a route. The key begins with the kind's name.
func Share[T any](env *Env, key string, build func() (T, error)) (T, error) {
	if env.Shared == nil {
		return build()
	}
	env.Shared.mu.Lock()
	defer env.Shared.mu.Unlock()
	if v, ok := env.Shared.made[key].(T); ok {
		return v, nil
	}
	v, err := build()
	if err == nil {
		if env.Shared.made == nil {
			env.Shared.made = map[string]any{}
		}
		env.Shared.made[key] = v
	}
	return v, err
}

// Local is typed room in every exchange that passes this policy: zeroed at first
// use, reused afterwards, so it costs no allocation.
type Local[T any] struct {
	place int
	home  *sync.Pool
}

// NewLocal reserves room. It is called while a policy is built.
func NewLocal[T any](env *Env) Local[T] {
	place := *env.Rooms
	*env.Rooms++
	return Local[T]{place: place, home: &sync.Pool{New: func() any { return new(T) }}}
}

// At returns this exchange's room; it is valid until OnDone has returned.
func (l Local[T]) At(x *message.Exchange) *T {
	if v, ok := x.Room(l.place).(*T); ok {
		return v
	}
	v := l.home.Get().(*T)
	var zero T
	*v = zero
	x.SetRoom(l.place, v, l.home)
	return v
}

// Keeper holds what policies and targets keep over reloads; Lease is what one holds of it.
type (
	Keeper = keep.Keeper
	Lease  = keep.Lease
)

// NewKeeper returns an empty keeper.
func NewKeeper() *Keeper { return keep.New() }

// Keep returns what was opened under this key by the policy that stood in the same
// place before the reload, and opens it if there is none: counters, caches, key
// sets, pools. It is closed when no snapshot uses it any more. Policies are built by
// one goroutine at a time.
func Keep[T io.Closer](env *Env, key string, open func() (T, error)) (T, error) {
	return keep.Open(env.Lease, env.Place.Route+"\x00"+env.Place.Name+"\x00"+key, open)
}
