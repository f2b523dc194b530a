//go:build linux

package main

import (
	"fmt"
	"time"
)

// turn is what was measured of one proxy in one round.
type turn struct {
	load   loadResult
	cpu    time.Duration
	growth int64 // how far the resident memory rose above what it was at the start, in bytes
}

// perRequest is the CPU time of one request, in microseconds.
func (t turn) perRequest() float64 {
	if t.load.requests == 0 {
		return 0
	}
	return float64(t.cpu) / float64(time.Microsecond) / float64(t.load.requests)
}

func (t turn) throughput() float64 { return float64(t.load.requests) / t.load.took.Seconds() }

// column is one figure of all turns.
func column(turns []turn, figure func(turn) float64) []float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = figure(t)
	}
	return values
}

func (c *contender) cpu() []float64        { return column(c.turns, turn.perRequest) }
func (c *contender) throughput() []float64 { return column(c.turns, turn.throughput) }

func (c *contender) errors() int {
	sum := 0
	for _, t := range c.turns {
		sum += t.load.errors
	}
	return sum
}

func (c *contender) latency() (p50, p99 time.Duration) {
	var middles, tails []time.Duration
	for _, t := range c.turns {
		middles = append(middles, t.load.p50)
		tails = append(tails, t.load.p99)
	}
	return median(middles), median(tails)
}

// alternate lets the contenders take turns; another one begins in each round.
func (b *bench) alternate(contenders []*contender) error {
	for _, c := range contenders {
		warm := c.load
		warm.duration = time.Second
		if _, err := warm.generate(b.ctx, b.machine.cores, warm); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for round := range b.rounds {
		for i := range contenders {
			c := contenders[(round+i)%len(contenders)]
			t, err := b.take(c)
			if err != nil {
				return fmt.Errorf("%s: %w: %s", c.name, err, c.process.printed())
			}
			c.turns = append(c.turns, t)
			b.progress("   round %d %-18s %7.1f µs  %8.0f requests/s  %d errors", round+1, c.name, t.perRequest(), t.throughput(), t.load.errors)
		}
	}
	return nil
}

// take measures one turn.
func (b *bench) take(c *contender) (turn, error) {
	before, err := c.process.usage()
	if err != nil {
		return turn{}, err
	}
	highest := func() int64 { return before.resident }
	if c.watchMemory {
		highest = watchMemory(c.process, before.resident)
	}
	result, err := c.load.generate(b.ctx, b.machine.cores, c.load)
	peak := highest()
	if err != nil {
		return turn{}, err
	}
	after, err := c.process.usage()
	if err != nil {
		return turn{}, err
	}
	if result.requests == 0 {
		return turn{}, fmt.Errorf("no request was answered")
	}
	return turn{load: result, cpu: after.cpu - before.cpu, growth: peak - before.resident}, nil
}

// watchMemory looks at the resident memory of a process until the returned function
// is called, which says how high it rose.
func watchMemory(p *process, highest int64) func() int64 {
	stop := make(chan struct{})
	peak := make(chan int64)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				peak <- highest
				return
			case <-tick.C:
				if u, err := p.usage(); err == nil {
					highest = max(highest, u.resident)
				}
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-peak
	}
}
