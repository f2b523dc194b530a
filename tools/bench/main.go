//go:build linux

// Bench compares Sluice with nginx, HAProxy and Caddy on this machine, in one
// run, in alternation. `make bench` calls it; docs/performance.md says how to read
// what it prints. It starts every process that it measures on loopback, in a
// folder of its own, and ends all of them, also when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options are what the command line decides.
type options struct {
	sluice   string
	only     string
	rounds   int
	turn     time.Duration // one proxy's turn in one round
	routes   int           // how many routes the large configuration has
	idle     int           // how many idle connections are held
	rate     int           // requests a second in the open loop
	document string
	write    bool
	quick    bool
	profile  string
}

// group is one table of the report.
type group struct {
	name string
	run  func(b *bench) (section, error)
}

// groups are all tables, in the order in which they are measured.
func groups() []group {
	return []group{
		{"bare", (*bench).bare},
		{"policies", (*bench).policies},
		{"traffic", (*bench).traffic},
		{"routes", (*bench).manyRoutes},
		{"bodies", (*bench).bodies},
		{"tls", (*bench).overTLS},
		{"handshake", (*bench).handshakes},
		{"h2", (*bench).overHTTP2},
		{"h3", (*bench).overHTTP3},
		{"grpc", (*bench).grpc},
		{"idle", (*bench).idle},
		{"websockets", (*bench).webSockets},
		{"reload", (*bench).reload},
		{"start", (*bench).start},
	}
}

// bench is one run of the program.
type bench struct {
	options
	ctx     context.Context
	fleet   *fleet
	machine machine
	origin  string // address of the origin
}

func main() {
	// Children die with the thread that started them (Pdeathsig), so all are
	// started by the one that lives as long as the process.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseOptions() options {
	var o options
	flag.StringVar(&o.sluice, "sluice", "bin/sluice", "the sluice binary")
	flag.StringVar(&o.only, "only", "", "comma-separated groups: bare,policies,traffic,routes,bodies,tls,handshake,h2,h3,grpc,idle,websockets,reload,start")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of each comparison")
	flag.DurationVar(&o.turn, "turn", 4*time.Second, "how long one proxy's turn lasts, in whole seconds")
	flag.IntVar(&o.routes, "routes", 100_000, "routes of the large configuration")
	flag.IntVar(&o.idle, "idle", 10_000, "idle connections to hold")
	flag.IntVar(&o.rate, "rate", 4000, "requests a second while reloading")
	flag.StringVar(&o.document, "document", "docs/performance.md", "the file that -write changes")
	flag.BoolVar(&o.write, "write", false, "write the tables into the document")
	flag.BoolVar(&o.quick, "quick", false, "three rounds of one second: for a first look")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of sluice under load to this file, and measure nothing else (-only bare, policies, traffic, routes or grpc)")
	flag.Parse()
	if o.quick {
		o.rounds, o.turn = 3, time.Second
	}
	return o
}

func run() error {
	o := parseOptions()
	chosen, err := choose(o.only)
	if err != nil {
		return err
	}
	sluice, err := filepath.Abs(o.sluice)
	if err != nil {
		return err
	}
	if _, err := os.Stat(sluice); err != nil {
		return fmt.Errorf("%w; `make build` makes it", err)
	}
	o.sluice = sluice

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, time.Hour)
	defer cancel()

	m, err := lookAround(ctx, sluice)
	if err != nil {
		return err
	}
	f, err := newFleet(ctx, m.cores)
	if err != nil {
		return err
	}
	defer f.close()
	b := &bench{options: o, ctx: ctx, fleet: f, machine: m}
	if b.origin, err = b.startOrigin(); err != nil {
		return err
	}
	if o.profile != "" {
		return b.captureProfile(chosen[0].name)
	}
	fmt.Print(m.describe(), "\n\n")
	var failed []error
	for _, g := range chosen {
		if err := b.measure(g); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", g.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func (b *bench) measure(g group) error {
	b.progress("== %s", g.name)
	begin := time.Now()
	before, err := b.othersTime()
	if err != nil {
		return err
	}
	s, err := g.run(b)
	b.fleet.stopAllBut(b.originProcess())
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	if err != nil {
		return err
	}
	after, err := b.othersTime()
	if err != nil {
		return err
	}
	s.took = time.Since(begin)
	if note := b.noise(after-before, s.took); note != "" {
		s.notes = append(s.notes, note)
	}
	fmt.Print(s.text(), "\n")
	if !b.write {
		return nil
	}
	return writeSection(b.document, g.name, s.markdown(b.machine, begin))
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// choose returns the groups that -only names, or all.
func choose(only string) ([]group, error) {
	all := groups()
	if only == "" {
		return all, nil
	}
	var chosen []group
	for name := range strings.SplitSeq(only, ",") {
		i := 0
		for i < len(all) && all[i].name != name {
			i++
		}
		if i == len(all) {
			return nil, fmt.Errorf("there is no group %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
