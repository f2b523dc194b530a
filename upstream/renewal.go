package upstream

import (
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/sticky"
)

// renewal says when the selection was made and is to be made again. Where ten thousand endpoints
// fall ill one after the other, a selection for each would be more work than the requests.
type renewal struct {
	made    int64 // when, on the clock of message.Exchange.Now
	pause   int64 // what must lie between it and the next one
	pending bool  // somebody will make the next one when the pause is over
}

const (
	// coalesceAbove is the number of endpoints with which changes that follow each other closely are
	// taken together.
	coalesceAbove = 500
	// renewalFactor is the pause, in times of what it takes to make a selection: no more than a tenth of
	// a core is spent on that.
	renewalFactor   = 9
	shortestRenewal = time.Millisecond
	longestRenewal  = 100 * time.Millisecond
)

// use makes endpoints those that are used. It is called with the lock held, or before
// anybody else knows the upstream.
func (u *Upstream) use(all []*Endpoint) {
	u.choose(all, u.adhesive.tokenTable(all), newCircles(&u.config.Hash))
}

// renew makes the selection anew of the endpoints that are there. It is called with the lock held.
func (u *Upstream) renew() {
	s := u.chosen.Load()
	u.choose(s.all, s.tokens, s.circles)
}

// renewSoon is renew, at once or together with what changes in the meantime.
func (u *Upstream) renewSoon() {
	if u.renewal.pending {
		return
	}
	if len(u.Endpoints()) > coalesceAbove {
		if wait := u.renewal.made + u.renewal.pause - message.Clock(); wait > 0 {
			u.renewal.pending = true
			time.AfterFunc(time.Duration(wait), u.renewPending)
			return
		}
	}
	u.renew()
}

func (u *Upstream) renewPending() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.renewal.pending && !u.closed {
		u.renew()
	}
}

// choose makes the selection of endpoints, whose tokens and circles are known.
func (u *Upstream) choose(all []*Endpoint, tokens *sticky.Table[holder], circles *circles) {
	began := message.Clock()
	var warm int64
	if u.config.SlowStart > 0 {
		for _, e := range all {
			if began := e.began.Load(); began != 0 {
				warm = max(warm, began+int64(u.config.SlowStart))
			}
		}
	}
	s := newSelection(&u.config, all, circles, warm)
	s.tokens = tokens
	u.chosen.Store(s)
	u.limitEndpoints(all)
	made := message.Clock()
	u.renewal = renewal{made: made, pause: min(max(renewalFactor*(made-began), int64(shortestRenewal)), int64(longestRenewal))}
}
