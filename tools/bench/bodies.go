//go:build linux

package main

import "fmt"

// bodies compares the throughput of answers of several lengths.
func (b *bench) bodies() (section, error) {
	s := section{
		title: "Answers of several lengths",
		head:  []string{"", "MiB/s", "ratio to nginx", "CPU µs/request", "ratio to nginx", "p99 ms", "memory growth MiB", "errors"},
	}
	nginx, err := b.startNginx("nginx", "", "")
	if err != nil {
		return s, err
	}
	sluice, err := b.startSluice("sluice", bareRoute)
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, nginx}
	connections := []int{64, 32, 8}
	for i, size := range bodySizes {
		for _, c := range all {
			c.turns, c.watchMemory = nil, true
			c.load.url = "http://" + c.address + size.path
			c.load.connections = connections[i]
		}
		if err := b.alternate(all); err != nil {
			return s, err
		}
		for _, c := range all {
			_, p99 := c.latency()
			s.add(fmt.Sprintf("%s, %s", c.name, size.label),
				fmt.Sprintf("%.0f", median(c.bandwidth())), times(medianRatio(c.bandwidth(), nginx.bandwidth())),
				microseconds(c.cpu()), times(medianRatio(c.cpu(), nginx.cpu())),
				milliseconds(p99), mebibytes(c.growth()), fmt.Sprint(c.errors()))
		}
		if size.bytes == 10<<20 {
			ratio := medianRatio(sluice.bandwidth(), nginx.bandwidth())
			s.judge(ratio >= 0.9, "10 MiB: at least 0.9 × nginx's throughput", "%.2f", ratio)
		}
	}
	s.noErrors(sluice)
	return s, nil
}

// bandwidth is what the client received, in MiB a second.
func (c *contender) bandwidth() []float64 {
	return column(c.turns, func(t turn) float64 {
		return float64(t.load.bytes) / (1 << 20) / t.load.took.Seconds()
	})
}

// growth is the largest growth of the memory in all turns, in bytes.
func (c *contender) growth() int64 {
	var highest int64
	for _, t := range c.turns {
		highest = max(highest, t.growth)
	}
	return highest
}
