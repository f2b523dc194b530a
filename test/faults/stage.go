package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// Stage is a gateway, and the origins behind it.
type Stage struct {
	Origins []*Origin
	Load    *Load

	gateway *rig.Gateway
	web     string // its listener's address
	dir     string
}

// patience is how long a client waits for an answer: longer than a busy machine stands still.
const patience = 20 * time.Second

// NewStage starts origins and a gateway whose upstream has settings: lines of YAML
// without indentation. workers is how many requests an origin does at one time.
func NewStage(origins, workers int, settings string) (*Stage, error) {
	return newStage(make([]int, origins), workers, settings)
}

// newStage is NewStage with an origin for each of the priorities.
func newStage(priorities []int, workers int, settings string) (*Stage, error) {
	origins, err := newOrigins(len(priorities), workers)
	if err != nil {
		return nil, err
	}
	var urls []string
	for i, o := range origins {
		urls = append(urls, fmt.Sprintf(`{ url: "http://%s", priority: %d }`, o.Address, priorities[i]))
	}
	return startStage(origins, upstream("origins", "endpoints: ["+strings.Join(urls, ", ")+"]\n"+settings)+routeTo("origins"))
}

// newOrigins starts some.
func newOrigins(n, workers int) ([]*Origin, error) {
	var origins []*Origin
	for range n {
		o, err := NewOrigin(workers)
		if err != nil {
			downAll(origins)
			return nil, err
		}
		origins = append(origins, o)
	}
	return origins, nil
}

func downAll(origins []*Origin) {
	for _, o := range origins {
		o.Down()
	}
}

// upstream is the only upstream of a document, or the first one: its settings are lines of
// YAML without indentation.
func upstream(name, settings string) string {
	return "upstreams:\n" + anotherUpstream(name, settings)
}

// anotherUpstream is one that follows.
func anotherUpstream(name, settings string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %s\n", name)
	for line := range strings.Lines(strings.TrimSpace(settings) + "\n") {
		b.WriteString("    " + line)
	}
	return b.String()
}

// routeTo sends everything to one upstream.
func routeTo(name string) string {
	return fmt.Sprintf("routes:\n  - { name: all, match: { path: /** }, upstream: %s }\n", name)
}

// startStage starts a gateway: document is what its configuration has beside listeners. The
// origins become the stage's.
func startStage(origins []*Origin, document string) (*Stage, error) {
	s := &Stage{Origins: origins}
	if err := s.start(document); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stage) start(document string) error {
	web, err := rig.FreeAddress()
	if err != nil {
		return err
	}
	admin, err := rig.FreeAddress()
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "sluice-faults-"); err != nil {
		return err
	}
	text := fmt.Sprintf(`drain: { shutdown: 1s }
admin: { address: %q }
listeners:
  - { name: web, address: %q }
%s`, admin, web, document)
	file := filepath.Join(s.dir, "sluice.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	if s.gateway, err = rig.Start(s.dir, file, admin, "", nil); err != nil {
		return err
	}
	s.web, s.Load = web, NewLoad(web, patience)
	if err := s.gateway.Ready(); err != nil {
		return fmt.Errorf("faults: %w\n%s%s", err, text, s.gateway.Log())
	}
	return nil
}

// Close ends the gateway and the origins.
func (s *Stage) Close() {
	if s.Load != nil {
		s.Load.Close()
	}
	if s.gateway != nil {
		_ = s.gateway.Signal(syscall.SIGTERM)
		if _, err := s.gateway.Wait(); err != nil {
			s.gateway.Kill()
		}
	}
	downAll(s.Origins)
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Requests is how many all origins got together, without health checks.
func (s *Stage) Requests() (n int64) {
	for _, o := range s.Origins {
		n += o.Counts().Requests
	}
	return n
}

// refused is how many connections to origins the gateway has tried to open in vain, without health checks.
func (s *Stage) refused() (n int64, err error) {
	const metric = "sluice_upstream_connect_failures_total{"
	res, err := http.Get("http://" + s.gateway.Admin + "/metrics")
	if err != nil {
		return 0, fmt.Errorf("faults: asking for metrics: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, fmt.Errorf("faults: reading metrics: %w", err)
	}
	for line := range strings.Lines(string(all)) {
		if _, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(line, metric) {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("faults: there is no metric %s", metric)
}

// behave switches all origins.
func (s *Stage) behave(b Behaviour) {
	for _, o := range s.Origins {
		o.Behave(b)
	}
}

// during runs load until act, which it runs beside it, has returned.
func (s *Stage) during(rate int, act func() error) (Seen, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	acted := make(chan error, 1)
	go func() {
		defer cancel()
		acted <- act()
	}()
	seen := s.Load.Run(ctx, rate, time.Hour)
	return seen, <-acted
}
