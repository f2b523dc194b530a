package faults

import (
	"context"
	"fmt"
	"time"
)

// Two origins of four workers that need 40 ms each can do 200 requests a second.
const (
	workers = 4
	service = 40 * time.Millisecond
)

// overload offers three times as much as the origins can do, and compares with
// what they do when they are just busy.
func overload(settings string) func(Pace) (Report, error) {
	return func(p Pace) (Report, error) {
		capacity, calm, err := measure(p)
		if err != nil {
			return Report{}, err
		}
		s, err := NewStage(2, workers, "balance: least_request\n"+settings)
		if err != nil {
			return Report{}, err
		}
		defer s.Close()
		s.behave(Behaviour{Delay: service})
		// A limit that is found begins somewhere: it is given a moment.
		s.Load.Run(context.Background(), int(capacity/2), p.Step/2)
		s.Load.Run(context.Background(), int(3*capacity), p.Step/2)
		var r Report
		r.Seen = s.Load.Run(context.Background(), int(3*capacity), 2*p.Step)
		r.Detail = fmt.Sprintf("capacity %.0f/s, p99 %s unloaded", capacity, milliseconds(calm))
		if settings == "" {
			r.Detail += fmt.Sprintf(", goodput %.0f %%", 100*r.Seen.Goodput()/capacity)
			return r, nil
		}
		good, slow := r.Seen.Goodput()/capacity, float64(r.Seen.Quantile(0.99))/float64(calm)
		r.bar(good >= 0.9, "goodput at least 90 % of the capacity", "%.0f %%", 100*good)
		r.bar(slow <= 3, "p99 at most 3x the unloaded", "%.1fx", slow)
		return r, nil
	}
}

// measure returns how many requests a second the origins can do through a gateway
// without limits, and the 99th percentile of the latency when they are hardly busy.
func measure(p Pace) (capacity float64, calm time.Duration, err error) {
	s, err := NewStage(2, workers, "balance: least_request")
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	s.behave(Behaviour{Delay: service})
	nominal := 2 * workers * int(time.Second/service)
	quiet := s.Load.Run(context.Background(), nominal/4, p.Step)
	// More than they can do: both always have work, until the last answer.
	full := s.Load.Run(context.Background(), nominal*5/4, p.Step)
	if quiet.Failed > 0 {
		return 0, 0, fmt.Errorf("faults: measuring the capacity: %d failed: %v", quiet.Failed, quiet.Answers)
	}
	return full.Goodput(), quiet.Quantile(0.99), nil
}

// storm has an upstream that answers 503 to everything, and a gateway that would
// ask it four times for each request if it were not for the budget.
func storm(budget string, barred bool) func(Pace) (Report, error) {
	return func(p Pace) (Report, error) {
		s, err := NewStage(3, 0, fmt.Sprintf(`
retry: { attempts: 3, on: [connect_failure, reset, timeout, 5xx], backoff: { base: 1ms, max: 5ms }, budget: %s }
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
