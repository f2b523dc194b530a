package listen

import (
	"github.com/sluice-gateway/sluice/wire/http2"
	"github.com/sluice-gateway/sluice/wire/http3"
)

// turnedAway is what a listener has turned away, by its name, the protocol, and why.
type turnedAway struct{ listener, protocol, why string }

// Floods emits, for metrics, the connections that were closed because of a flood.
func (s *Set) Floods(emit func(listener, protocol, kind string, n int64)) {
	s.count(emit, func(l *listener, add func(protocol, kind string, n int64)) {
		for kind := range http2.FloodKinds {
			add(HTTP2, kind.String(), l.h2.Counters.Floods[kind].Value())
		}
		for kind := range http3.FloodKinds {
			add(HTTP3, kind.String(), l.h3.Counters.Floods[kind].Value())
		}
	})
}

// Resets emits, for metrics, the streams that ended without an answer.
func (s *Set) Resets(emit func(listener, protocol, reason string, n int64)) {
	s.count(emit, func(l *listener, add func(protocol, reason string, n int64)) {
		h2, h3 := l.h2.Counters, l.h3.Counters
		add(HTTP2, "client", h2.Reset.Value())
		add(HTTP2, "refused", h2.Refused.Value())
		add(HTTP2, "malformed", h2.Malformed.Value())
		add(HTTP3, "client", h3.Reset.Value())
		add(HTTP3, "refused", h3.Rejected.Value())
		add(HTTP3, "malformed", h3.Malformed.Value())
	})
}

// count adds up what listeners of the same name have counted: one that has moved to another address
// may still have connections at the old one.
func (s *Set) count(emit func(listener, protocol, why string, n int64), each func(l *listener, add func(protocol, why string, n int64))) {
	all := map[turnedAway]int64{}
	s.mu.Lock()
	for _, l := range s.open {
		each(l, func(protocol, why string, n int64) { all[turnedAway{l.spec.Name, protocol, why}] += n })
	}
	s.mu.Unlock()
	for key, n := range all {
		emit(key.listener, key.protocol, key.why, n)
	}
}
