package main

import (
	"time"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/listen/certificates"
)

// certificates emits, for metrics, the seconds that each certificate is valid yet, once for
// each listener and source. What the gateway shows to origins stands under no listener, as
// do certificates from authorities.
func (g *gateway) certificates(emit func(listener, source string, seconds float64)) {
	type key struct{ listener, source string }
	seen := map[key]bool{}
	once := func(listener, source string, seconds float64) {
		if k := (key{listener, source}); !seen[k] {
			seen[k] = true
			emit(listener, source, seconds)
		}
	}
	g.sockets.Certificates(once)
	now := time.Now()
	eachOrigin(g.applied.Load(), func(o *certificates.Origin) {
		for _, e := range o.Expiries() {
			once("", e.Source, e.Left(now).Seconds())
		}
	})
}

// certificateProblems emits, for metrics, how many certificates need somebody.
func (g *gateway) certificateProblems(emit func(listener string, number int)) {
	shared, any := 0, false
	g.sockets.CertificateProblems(func(listener string, number int) {
		if listener != "" {
			emit(listener, number)
			return
		}
		shared, any = shared+number, true
	})
	eachOrigin(g.applied.Load(), func(o *certificates.Origin) {
		shared, any = shared+len(o.Problems()), true
	})
	if any {
		emit("", shared)
	}
}

func eachOrigin(applied *compile.Result, do func(*certificates.Origin)) {
	if applied != nil {
		applied.EachOrigin(do)
	}
}
