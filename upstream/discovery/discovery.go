// Package discovery finds out which endpoints an upstream has, and goes on looking:
// in DNS, in a file, at an HTTP endpoint, in Consul.
//
// A list counts as a whole. One that cannot be had, or that holds what cannot be an
// endpoint, is refused with a fault, and the last good list stays in force: an
// upstream never loses its endpoints because somebody cannot tell them.
package discovery

import "context"

// Endpoint is what a source tells of one address.
type Endpoint struct {
	Address  string // host:port, as net.Dial takes it
	Secure   bool   // over TLS
	Weight   int    // from 1 to MaxWeight
	Zone     string // "" where none is known
	Priority int    // from 0 to MaxPriority; lower ones come first
}

// Source tells the endpoints of an upstream, again and again. A source may be
// watched by several goroutines, each with a Watch of its own.
type Source interface {
	// Watch runs until ctx ends; then nothing that it started is left. It calls
	// send with each complete list that differs from the last one, in the order of
	// the addresses; the list belongs to the receiver. It calls fault with what went
	// wrong, once for as long as the same is wrong, and with nil whenever the source
	// was asked and its list is good: so the age of the list is known, though it did
	// not change. Both are called on Watch's goroutine.
	Watch(ctx context.Context, send func([]Endpoint), fault func(error))
	// String is what is watched, in words, without secrets.
	String() string
}

// Note is a fault of a list that is taken all the same: something in it was passed
// over.
type Note struct{ Err error }

func (n *Note) Error() string { return n.Err.Error() }

// Unwrap is what was passed over.
func (n *Note) Unwrap() error { return n.Err }

// Limits of what a source may tell.
const (
	MaxEndpoints = 10_000   // of one list; a longer one is refused
	MaxWeight    = 1000     // larger ones of DNS and Consul are scaled down together
	MaxPriority  = 65_535   // what SRV records can say
	MaxZone      = 128      // bytes of a zone's name
	MaxFile      = 4 << 20  // bytes of a file
	MaxAnswer    = 32 << 20 // bytes of an answer over HTTP, unpacked
	maxHeader    = 64 << 10 // bytes of the head of an answer over HTTP
	maxTargets   = 1000     // of SRV records, different ones
	maxChain     = 8        // aliases that lead to a name, one after the other
	maxServers   = 8        // DNS servers that are asked
	maxSearch    = 8        // names that a short name is tried as
	maxMessage   = 300      // bytes of what somebody else said that a fault repeats
)
