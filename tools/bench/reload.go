//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// reloadWindow is how long each quiet or reloading stretch lasts at least.
const reloadWindow = 6 * time.Second

// stretch is what was measured in one quiet or reloading stretch.
type stretch struct {
	load    openResult
	cpu     time.Duration
	took    time.Duration
	applied []time.Duration // from the change of the file to the first answer of the new revision
}

// rate is the share of a core that was used.
func (s stretch) rate() float64 { return float64(s.cpu) / float64(s.took) }

func (s stretch) p99() time.Duration { return percentile(s.load.latencies, 99) }
func (s stretch) p50() time.Duration { return percentile(s.load.latencies, 50) }

// reload changes one of very many routes each second under a constant load, in
// alternation with stretches in which nothing changes.
func (b *bench) reload() (section, error) {
	s := section{
		title: fmt.Sprintf("%d routes, one changed each second, at %d requests a second", b.options.routes, b.options.rate),
		head:  []string{"", "quiet p50 ms", "quiet p99 ms", "reloading p50 ms", "reloading p99 ms", "ratio of p99", "changes", "time to apply ms", "CPU ms/change", "without load", "errors"},
		notes: []string{
			"Open loop: latency counts from when a request was due. Time to apply is from the change of the file to the first answer of the new revision.",
			"CPU per change is the CPU time of the process with changes less that without, at the same load, divided by the changes.",
		},
	}
	for _, place := range []struct{ name, core string }{{"one core", b.machine.cores.proxy}, {"two cores", ""}} {
		r, err := b.reloadOn(place.name, place.core)
		if err != nil {
			return s, err
		}
		p99 := func(s stretch) float64 { return float64(s.p99()) }
		ratio := medianRatio(each(r.reloading, p99), each(r.quiet, p99))
		failures := 0
		var applied []time.Duration
		for i := range r.quiet {
			failures += r.quiet[i].load.errors + r.reloading[i].load.errors
			applied = append(applied, r.reloading[i].applied...)
			for _, err := range []error{r.quiet[i].load.firstErr, r.reloading[i].load.firstErr} {
				if err != nil {
					s.notes = append(s.notes, "An error, "+place.name+": "+err.Error()+".")
				}
			}
		}
		loaded, unloaded := extraCPU(r.quiet, r.reloading), extraCPU(r.quietIdle, r.reloadingIdle)
		s.add("sluice, "+place.name,
			milliseconds(median(each(r.quiet, stretch.p50))), milliseconds(median(each(r.quiet, stretch.p99))),
			milliseconds(median(each(r.reloading, stretch.p50))), milliseconds(median(each(r.reloading, stretch.p99))),
			times(ratio), fmt.Sprint(len(applied)), milliseconds(median(applied)),
			milliseconds(loaded), milliseconds(unloaded), fmt.Sprint(failures))
		s.judge(failures == 0, "no failed request, "+place.name, "%d", failures)
		s.judge(ratio <= 2, "p99 at most 2 × that of the quiet run, "+place.name, "%.2f", ratio)
		s.judge(max(loaded, unloaded) <= 300*time.Millisecond, "at most 300 ms of work for a change, "+place.name, "%s ms under load, %s ms without", milliseconds(loaded), milliseconds(unloaded))
	}
	return s, nil
}

func each[T any](all []stretch, figure func(stretch) T) []T {
	values := make([]T, len(all))
	for i, s := range all {
		values[i] = figure(s)
	}
	return values
}

// extraCPU is the median of what one change cost in CPU time, round by round.
func extraCPU(quiet, reloading []stretch) time.Duration {
	var costs []time.Duration
	for i := range min(len(quiet), len(reloading)) {
		if changes := len(reloading[i].applied); changes > 0 {
			extra := (reloading[i].rate() - quiet[i].rate()) * float64(reloading[i].took)
			costs = append(costs, time.Duration(extra)/time.Duration(changes))
		}
	}
	return median(costs)
}

type reloadResult struct {
	quiet, reloading         []stretch // under load
	quietIdle, reloadingIdle []stretch
}

func (b *bench) reloadOn(name, core string) (reloadResult, error) {
	var r reloadResult
	g, err := b.newGateway("reload")
	if err != nil {
		return r, err
	}
	g.core = core
	file := g.routesFile(b.origin, b.options.routes)
	if err := errors.Join(file.prepare(0), file.replace()); err != nil {
		return r, err
	}
	p, err := b.fleet.startReady(g.launch(b))
	if err != nil {
		return r, err
	}
	defer b.fleet.stop(p)

	random := rand.New(rand.NewPCG(1, 2))
	o := openLoop{address: g.listen, connections: 64, rate: b.options.rate, duration: reloadWindow}
	for range 16 << 10 {
		o.calls = append(o.calls, []byte(routeCall(random.IntN(b.options.routes))))
	}
	c := &changer{bench: b, gateway: g, file: file, process: p}
	if err := c.see(); err != nil {
		return r, fmt.Errorf("before the first change: %w: %s", err, p.printed())
	}
	rounds := max(min(b.rounds, 5), 1)
	if b.quick {
		rounds = 1
	}
	for round := range rounds {
		for i, changing := range []bool{round%2 == 1, round%2 == 0} {
			s, err := c.stretch(&o, changing)
			if err != nil {
				return r, fmt.Errorf("%w: %s", err, p.printed())
			}
			b.progress("   %s, round %d.%d, changing %-5v p50 %s ms, p99 %s ms, CPU %.0f %%, %d changes, %d errors", name, round+1, i+1, changing, milliseconds(s.p50()), milliseconds(s.p99()), s.rate()*100, len(s.applied), s.load.errors)
			if changing {
				r.reloading = append(r.reloading, s)
			} else {
				r.quiet = append(r.quiet, s)
			}
		}
	}
	for _, changing := range []bool{false, true} {
		s, err := c.stretch(nil, changing)
		if err != nil {
			return r, fmt.Errorf("without load: %w: %s", err, p.printed())
		}
		b.progress("   %s, without load, changing %-5v CPU %.0f %%, %d changes", name, changing, s.rate()*100, len(s.applied))
		if changing {
			r.reloadingIdle = append(r.reloadingIdle, s)
		} else {
			r.quietIdle = append(r.quietIdle, s)
		}
	}
	return r, nil
}

// changer changes the route that tells the revision.
type changer struct {
	*bench
	gateway  gateway
	file     *routesFile
	process  *process
	revision int
	client   http.Client
}

// see asks once which revision is answered, and is content if it is the last.
func (c *changer) see() error {
	request, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://"+c.gateway.listen+changingPath, nil)
	if err != nil {
		return err
	}
	c.client.Timeout = 10 * time.Second
	answer, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if want := revisionText(c.revision); strings.TrimSpace(string(body)) != want {
		return errOldRevision
	}
	return nil
}

var errOldRevision = errors.New("an earlier revision is answered")

// stretch measures reloadWindow under the load o, or without load if it is nil.
// Whether or not the file changes, the revision is asked for at the same pace.
func (c *changer) stretch(o *openLoop, changing bool) (stretch, error) {
	var s stretch
	before, err := c.process.usage()
	if err != nil {
		return s, err
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, reloadWindow)
	defer cancel()
	loaded := make(chan error, 1)
	go func() {
		if o == nil {
			loaded <- nil
			return
		}
		var err error
		s.load, err = o.run(c.ctx)
		loaded <- err
	}()
	applied, changeErr := c.change(ctx, changing)
	<-ctx.Done()
	if err := errors.Join(<-loaded, changeErr); err != nil {
		return s, err
	}
	after, err := c.process.usage()
	if err != nil {
		return s, err
	}
	s.applied, s.cpu, s.took = applied, after.cpu-before.cpu, time.Since(begin)
	return s, nil
}

// change replaces the file each second until the context ends, and notes when each
// change is answered. A change that takes longer than a second delays the next. In
// a quiet stretch the file is prepared all the same, and thrown away: writing it is
// our own work, not the proxy's.
func (c *changer) change(ctx context.Context, changing bool) ([]time.Duration, error) {
	var applied []time.Duration
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	next := time.Now().Add(500 * time.Millisecond)
	var changed time.Time // zero when no change is under way
	for {
		select {
		case <-ctx.Done():
			if !changed.IsZero() {
				return applied, c.await(changed, &applied)
			}
			return applied, nil
		case <-look.C:
		}
		if changed.IsZero() && time.Now().After(next) {
			next = next.Add(time.Second)
			if err := c.file.prepare(c.revision + 1); err != nil {
				return applied, err
			}
			if changing {
				c.revision++
				changed = time.Now()
				if err := errors.Join(c.file.replace(), syscall.Kill(c.process.pid(), syscall.SIGHUP)); err != nil {
					return applied, err
				}
			}
		}
		err := c.see()
		switch {
		case errors.Is(err, errOldRevision) && time.Since(changed) < 20*time.Second:
		case err != nil:
			return applied, err
		case !changed.IsZero():
			applied = append(applied, time.Since(changed))
			changed = time.Time{}
		}
	}
}

// await waits for the last change, so that the next stretch begins quiet.
func (c *changer) await(changed time.Time, applied *[]time.Duration) error {
	for time.Since(changed) < 20*time.Second {
		err := c.see()
		if err == nil {
			*applied = append(*applied, time.Since(changed))
			return nil
		}
		if !errors.Is(err, errOldRevision) {
			return err
		}
		c.pause(20 * time.Millisecond)
	}
	return errors.New("the last change was not applied within 20 s")
}
