package observe

// Rollout is how one roll-out stands.
type Rollout struct {
	Route, State                                   string
	Share                                          float64
	OldRequests, OldFailed, NewRequests, NewFailed int64
}

// Rollouts says who knows the roll-outs. read is called on the goroutine that writes the
// metrics out.
func (g *Gateway) Rollouts(read func() []Rollout) {
	g.registry.collector(&rolloutShare, func(emit func(float64, ...string)) {
		for _, r := range read() {
			emit(r.Share, r.Route)
		}
	})
	g.registry.collector(&rolloutState, func(emit func(float64, ...string)) {
		for _, r := range read() {
			for _, state := range rolloutStates {
				value := 0.0
				if state == r.State {
					value = 1
				}
				emit(value, r.Route, state)
			}
		}
	})
	g.registry.collector(&rolloutRequests, func(emit func(float64, ...string)) {
		for _, r := range read() {
			emit(float64(r.OldRequests-r.OldFailed), r.Route, "old", "ok")
			emit(float64(r.OldFailed), r.Route, "old", "failed")
			emit(float64(r.NewRequests-r.NewFailed), r.Route, "new", "ok")
			emit(float64(r.NewFailed), r.Route, "new", "failed")
		}
	})
}
