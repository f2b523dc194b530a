package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/upstream/discovery"
)

// discovered is what an upstream knows of the source of its endpoints.
type discovered struct {
	source discovery.Source
	wait   time.Duration
	first  chan struct{} // closed when there is a list

	mu    sync.Mutex
	state Discovered
	until time.Time // when the wait for the first list is over; zero before Start
}

// Discovered is how the discovery of an upstream's endpoints goes.
type Discovered struct {
	Source  string    // in words
	Updates uint64    // lists that were taken because they were other than the one before
	Faults  uint64    // that were told, the same one once for as long as it lasts
	Good    time.Time // when the source last had a good list, changed or not; zero: never
	Failing bool      // the last look failed: the list is that of Good
	Fault   string    // the last fault, though it may be over
	FaultAt time.Time
}

// Discover says who tells the endpoints; wait is how long Await waits for the first
// list. It is called before Start.
func (u *Upstream) Discover(source discovery.Source, wait time.Duration) {
	d := &discovered{source: source, wait: wait, first: make(chan struct{})}
	d.state.Source = source.String()
	u.discovered = d
	u.tasks = append(u.tasks, func(ctx context.Context) {
		source.Watch(ctx, u.take, u.hear)
	})
}

// Inherit takes the endpoints of an upstream that this one replaces, so that it need not
// wait for the same source. It is called before Start.
func (u *Upstream) Inherit(before *Upstream) {
	was := before.discovered
	if u.discovered == nil || was == nil {
		return
	}
	was.mu.Lock()
	good := was.state.Good
	was.mu.Unlock()
	if good.IsZero() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	endpoints := before.Endpoints()
	all := make([]*Endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		all = append(all, newEndpoint(u, e.config()))
	}
	u.use(all)
	u.discovered.state.Good = good
	close(u.discovered.first)
}

// start begins the time for the first list. d is nil where the endpoints are configured.
func (d *discovered) start() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Now().Add(d.wait)
}

// Await waits until the source has told endpoints, or the time for that is over, which
// begins with Start. An upstream without a source is ready at once. It is called after
// Start, by who brings the upstream into use.
func (u *Upstream) Await() (told bool) {
	d := u.discovered
	if d == nil {
		return true
	}
	d.mu.Lock()
	left := time.Until(d.until)
	d.mu.Unlock()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-d.first:
		return true
	case <-timer.C:
	}
	select {
	case <-d.first:
		return true
	default:
		return false
	}
}

// Discovered tells how discovery goes; false where the endpoints are configured.
func (u *Upstream) Discovered() (Discovered, bool) {
	d := u.discovered
	if d == nil {
		return Discovered{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state, true
}

// take puts a list in force. It runs on the goroutine of the source.
func (u *Upstream) take(list []discovery.Endpoint) {
	configs := make([]EndpointConfig, len(list))
	for i, e := range list {
		configs[i] = EndpointConfig{Address: e.Address, Secure: e.Secure, Weight: e.Weight, Zone: e.Zone, Priority: e.Priority}
	}
	added, removed := u.SetEndpoints(configs)
	d := u.discovered
	d.mu.Lock()
	d.state.Updates++
	first := d.state.Good.IsZero()
	d.state.Good = time.Now()
	d.mu.Unlock()
	if first {
		close(d.first)
	}
	if first || len(added)+len(removed) > 0 {
		u.logger.Info("endpoints discovered", "source", d.state.Source, "endpoints", len(list), "added", named(added), "removed", named(removed))
	}
}

// hear takes what a source says about itself. It runs on the goroutine of the source.
func (u *Upstream) hear(err error) {
	source := u.discovered.source.String()
	switch news := u.discovered.hear(err); {
	case err != nil:
		u.logger.Warn("discovery fault", "error", err, "endpoints_kept", len(u.Endpoints()))
	case news:
		u.logger.Info("discovery works again", "source", source)
	}
}

// hear says whether the source works again.
func (d *discovered) hear(err error) (news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	failing := d.state.Failing
	if err == nil {
		d.state.Good, d.state.Failing = time.Now(), false
		return failing
	}
	var note *discovery.Note
	d.state.Failing = failing || !errors.As(err, &note)
	d.state.Faults++
	d.state.Fault, d.state.FaultAt = err.Error(), time.Now()
	return false
}

// maxNamed is how many endpoints one line of the log names.
const maxNamed = 20

// named are addresses in one word of the log.
func named(addresses []string) string {
	if len(addresses) <= maxNamed {
		return strings.Join(addresses, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(addresses[:maxNamed], " "), len(addresses)-maxNamed)
}
