package engine

import (
	"net/netip"
	"sync/atomic"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/route"
	"github.com/sluice-gateway/sluice/target"
)

// Snapshot is all that the engine needs to serve: made by compile, never changed
// afterwards. An exchange uses the one with which it began to its last byte.
type Snapshot struct {
	Revision  uint64
	Hash      string // of the document
	Table     *route.Table
	Routes    []*Route // by the index that Table.Match returns
	Edge      []Step   // run before the route is known
	Listeners []Listener
	Vouched   []string // field names that only policies may put into a request
	Log       *observe.AccessLog
	Unmatched *observe.RouteMetrics
	// Release gives back what only this snapshot holds; called once, when no
	// exchange uses it any more.
	Release func() error

	pins    [pinCells]pinCell
	vouched vouchedNames
}

// Listener is what depends on the listener over which a request came.
type Listener struct {
	Name            string
	TrustedProxies  []netip.Prefix
	Normalize       route.NormalizeOptions
	KeepUnderscores bool
}

// Route is a compiled route.
type Route struct {
	Name     string
	Steps    []Step
	Target   target.Handler
	Kind     string   // of the target
	Upgrades []string // protocols that may be switched to, lower case
	Metrics  *observe.RouteMetrics
	// Precedence is that of message.Facts.
	Precedence int8
}

// Step is one policy in its place.
type Step struct {
	Kind    string
	Name    string // tells two of a kind apart
	Hooks   policy.Hooks
	OnFault policy.OnFault
	Metrics *observe.PolicyMetrics
}

// pinCells is a power of two. A connection always uses the same cell, so cores
// seldom share one.
const pinCells = 32

type pinCell struct {
	users atomic.Int64
	_     [56]byte
}

func (s *Snapshot) unpin(shard uint32) { s.pins[shard%pinCells].users.Add(-1) }

// inUse says whether an exchange has the snapshot. Once it is not the current
// one no cell can grow any more, so they may be looked at one after the other.
func (s *Snapshot) inUse() bool {
	for i := range s.pins {
		if s.pins[i].users.Load() != 0 {
			return true
		}
	}
	return false
}

func (s *Snapshot) listener(name string) *Listener {
	for i := range s.Listeners {
		if s.Listeners[i].Name == name {
			return &s.Listeners[i]
		}
	}
	return nil
}

func (s *Snapshot) close() error {
	if s.Release == nil {
		return nil
	}
	return s.Release()
}

// Close releases a snapshot that was never swapped in.
func (s *Snapshot) Close() error { return s.close() }

// vouchedNames finds names that policies vouch for, in every spelling.
type vouchedNames struct {
	lengths uint64 // bit n: there is a name of n bytes
	names   []string
}

func newVouchedNames(names []string) (v vouchedNames) {
	names = append([]string{message.ConsumerNameHeader, message.ConsumerGroupsHeader}, names...)
	for _, name := range names {
		v.names = append(v.names, name)
		v.lengths |= 1 << (len(name) & 63)
	}
	return v
}

// has compares with '_' and '-' taken as equal, because origins do.
func (v *vouchedNames) has(name string) bool {
	if v.lengths&(1<<(len(name)&63)) == 0 {
		return false
	}
	for _, n := range v.names {
		if equalSpelling(n, name) {
			return true
		}
	}
	return false
}

func equalSpelling(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if spelling(a[i]) != spelling(b[i]) {
			return false
		}
	}
	return true
}

func spelling(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + ('a' - 'A')
	}
	return c
}
