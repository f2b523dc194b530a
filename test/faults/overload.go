package faults

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// workers is how many requests each of two origins does at one time.
const workers = 4

// capacity is how much the two origins together can do, in requests a second, and service
// the time that each request needs for that: 200 of 40 ms, at the usual pace.
func (p Pace) capacity() int { return max(p.Rate*2/3, 8) }

func (p Pace) service() time.Duration {
	return 2 * workers * time.Second / time.Duration(p.capacity())
}

// contest is origins that can do only so much, behind a gateway without limits and behind
// one that may have some.
type contest struct{ free, limited *Stage }

func newContest(p Pace, settings string) (contest, error) {
	var c contest
	var err error
	if c.free, err = newBusy(p, ""); err != nil {
		return c, err
	}
	if c.limited, err = newBusy(p, settings); err != nil {
		c.free.Close()
		return c, err
	}
	c.limited.Load.Close()
	c.limited.Load = NewLoad(c.limited.web, soon)
	return c, nil
}

// soon is how long clients wait whose requests are too many.
const soon = time.Second

func newBusy(p Pace, settings string) (*Stage, error) {
	s, err := NewStage(2, workers, "balance: least_request\n"+settings)
	if err == nil {
		s.behave(Behaviour{Delay: p.service()})
	}
	return s, err
}

func (c *contest) close() {
	c.free.Close()
	c.limited.Close()
}

// rounds is how often the two take turns: a machine that is busy for a while is busy for
// both, and the median of the ratios is what counts.
const rounds = 3

// overload offers three times as much as the origins can do, and compares with
// what they do when they are just busy, and how long it takes when they are not.
func overload(settings string) func(Pace) (Report, error) {
	return func(p Pace) (Report, error) {
		c, err := newContest(p, settings)
		if err != nil {
			return Report{}, err
		}
		defer c.close()
		nominal := p.capacity()
		// A limit that is found begins somewhere: it is given a moment.
		c.limited.Load.Run(context.Background(), nominal/2, p.Step/2)
		c.limited.Load.Run(context.Background(), 3*nominal, p.Step/2)
		c.limited.rest()
		var r Report
		var good, slow []float64
		for range rounds {
			quiet := c.free.Load.Run(context.Background(), nominal/4, p.Step/2)
			// More than they can do: both always have work, until the last answer.
			full := c.free.Load.Run(context.Background(), nominal*5/4, p.Step)
			c.free.rest()
			if quiet.Failed > 0 {
				return r, fmt.Errorf("faults: measuring the capacity: %d failed: %v", quiet.Failed, quiet.Answers)
			}
			over := c.limited.Load.Run(context.Background(), max(int(3*full.Goodput()), 1), p.Step)
			c.limited.rest()
			good = append(good, over.Goodput()/full.Goodput())
			slow = append(slow, float64(over.Quantile(0.99))/float64(quiet.Quantile(0.99)))
			r.Detail = fmt.Sprintf("capacity %.0f/s, p99 %s unloaded; goodput of each round %s, p99 %s",
				full.Goodput(), milliseconds(quiet.Quantile(0.99)), list("%.2f", good), list("%.1fx", slow))
			r.Seen.join(over)
		}
		if settings != "" {
			g, q := median(good), median(slow)
			r.bar(g >= 0.9, "goodput at least 90 % of the capacity", "%.0f %%", 100*g)
			r.bar(q <= 3, "p99 at most 3x the unloaded", "%.1fx", q)
		}
		return r, nil
	}
}

// rest waits until the origins have nothing to do: those that clients have given up are
// still done.
func (s *Stage) rest() {
	for _, o := range s.Origins {
		o.idle(patience)
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func list(format string, values []float64) string {
	var words []string
	for _, v := range values {
		words = append(words, fmt.Sprintf(format, v))
	}
	return fmt.Sprint(words)
}

// storm has an upstream that answers 503 to everything, and a gateway that would
// ask it four times for each request if it were not for the budget.
func storm(budget string, barred bool) func(Pace) (Report, error) {
	return func(p Pace) (Report, error) {
		s, err := NewStage(3, 0, fmt.Sprintf(`
retry: { attempts: 3, on: [connect_failure, reset, timeout, 5xx], backoff: { base: 1ms, max: 5ms }, %s }
`, budget))
		if err != nil {
			return Report{}, err
		}
		defer s.Close()
		s.behave(Behaviour{Status: 503})
		var r Report
		r.Seen = s.Load.Run(context.Background(), p.Rate, 2*p.Step)
		r.Ill = s.Requests()
		if barred {
			r.stormBar()
			return r, nil
		}
		r.Detail = fmt.Sprintf("%.2f times what was offered", share(r.Ill, int64(r.Seen.Requests)))
		return r, nil
	}
}

// stormBar compares what ill origins got with what clients asked.
func (r *Report) stormBar() {
	times := share(r.Ill, int64(r.Seen.Requests))
	r.bar(times <= 1.25, "ill origins get at most 1.25x what is offered", "%.2fx", times)
}
