//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// start measures the time from starting the program to its first good answer.
func (b *bench) start() (section, error) {
	s := section{
		title: "From starting the program to its first good answer",
		head:  []string{"", "median ms", "longest ms"},
	}
	small, err := b.newGateway("start-small")
	if err != nil {
		return s, err
	}
	if err := os.WriteFile(small.config, []byte(small.head(b.origin)+bareRoute), 0o644); err != nil {
		return s, err
	}
	large, err := b.newGateway("start-large")
	if err != nil {
		return s, err
	}
	if err := large.writeRoutes(b.origin, b.options.routes); err != nil {
		return s, err
	}
	largeOnTwo := large
	largeOnTwo.core = ""
	for _, kind := range []struct {
		name    string
		gateway gateway
		bar     time.Duration
	}{
		{"1 route, one core", small, 0},
		{fmt.Sprintf("%d routes, one core", b.options.routes), large, 3 * time.Second},
		{fmt.Sprintf("%d routes, two cores", b.options.routes), largeOnTwo, 3 * time.Second},
	} {
		var took []time.Duration
		for range max(min(b.rounds, 5), 1) {
			d, err := b.startOnce(kind.gateway)
			if err != nil {
				return s, err
			}
			b.progress("   %s: %s ms", kind.name, milliseconds(d))
			took = append(took, d)
		}
		middle, longest := median(took), took[0]
		for _, d := range took {
			longest = max(longest, d)
		}
		s.add(kind.name, milliseconds(middle), milliseconds(longest))
		if kind.bar > 0 {
			s.judge(middle <= kind.bar, fmt.Sprintf("%s: at most %s", kind.name, kind.bar), "%s ms", milliseconds(middle))
		}
	}
	return s, nil
}

func (b *bench) startOnce(g gateway) (time.Duration, error) {
	begin := time.Now()
	p, err := b.fleet.start(g.launch(b))
	if err != nil {
		return 0, err
	}
	defer b.fleet.stop(p)
	buffer := make([]byte, 4096)
	for time.Since(begin) < 2*time.Minute {
		if answersWell(g.listen, buffer) {
			return time.Since(begin), nil
		}
		select {
		case <-p.ended:
			return 0, fmt.Errorf("%s ended: %s", p.name, p.printed())
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return 0, fmt.Errorf("%s does not answer: %s", p.name, p.printed())
}

// answersWell asks for the first route, on a connection of its own.
func answersWell(address string, buffer []byte) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	if _, err := io.WriteString(conn, routeCall(0)); err != nil {
		return false
	}
	n, err := conn.Read(buffer)
	if err != nil {
		return false
	}
	a, err := parseAnswer(buffer[:n])
	return err == nil && a.status == 200
}
