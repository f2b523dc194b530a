// Package rollout tests roll-outs with the real binary, in real time of small units.
package rollout

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// site is a gateway with two origins and clients that never stop asking.
type site struct {
	*rig.Gateway
	t               *testing.T
	dir, admin, web string
	old, new        *origin
	others          atomic.Int64 // answers that no client should get
}

// origin counts what it is asked.
type origin struct {
	*httptest.Server
	asked, status atomic.Int64
}

func newOrigin(t *testing.T) *origin {
	o := &origin{}
	o.status.Store(200)
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		o.asked.Add(1)
		w.WriteHeader(int(o.status.Load()))
	}))
	t.Cleanup(o.Close)
	return o
}

const document = `admin: { address: %q }
listeners: [{ name: web, address: %q }]
upstreams:
  - { name: v1, endpoints: [%q] }
  - { name: v2, endpoints: [%q] }
routes:
  - name: orders/all
    %s
`

func rollout(settings string) string { return "rollout: { from: v1, to: v2, " + settings + " }" }

// configure writes the configuration.
func (s *site) configure(target string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "sluice.yaml")
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, document, s.admin, s.web, s.old.URL, s.new.URL, target), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// begin starts a gateway with a roll-out.
func begin(t *testing.T, settings string) *site {
	t.Helper()
	web, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: t.TempDir(), admin: admin, web: web, old: newOrigin(t), new: newOrigin(t)}
	s.configure(rollout(settings))
	s.start()
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Log(s.Log())
		}
	})
	return s
}

func (s *site) start() {
	s.t.Helper()
	g, err := rig.Start(s.dir, "sluice.yaml", s.admin, "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Gateway = g
	if err := g.Ready(); err != nil {
		s.t.Fatal(err)
	}
}

// clients ask until stop is called.
func (s *site) clients() (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	transport := &http.Transport{}
	for range 4 {
		all.Go(func() {
			client := &http.Client{Transport: transport}
			for {
				select {
				case <-done:
					return
				default:
				}
				resp, err := client.Get("http://" + s.web + "/")
				if err != nil {
					continue // The gateway is started anew.
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 && int64(resp.StatusCode) != s.new.status.Load() {
					s.others.Add(1)
				}
			}
		})
	}
	return func() {
		close(done)
		all.Wait()
		transport.CloseIdleConnections()
	}
}

// command runs sluice and returns what it says.
func (s *site) command(arguments ...string) (string, error) {
	s.t.Helper()
	path, err := rig.Binary()
	if err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command(path, arguments...)
	c.Dir = s.dir
	out, err := c.CombinedOutput()
	return string(out), err
}

// rollout runs a command below rollout that must succeed.
func (s *site) rollout(arguments ...string) string {
	s.t.Helper()
	out, err := s.command(append([]string{"rollout", "--config", "sluice.yaml"}, arguments...)...)
	if err != nil {
		s.t.Fatalf("rollout %q: %v: %s", arguments, err, out)
	}
	return out
}

// fails runs a command below rollout that must fail, with these words.
func (s *site) fails(code int, words string, arguments ...string) {
	s.t.Helper()
	out, err := s.command(append([]string{"rollout", "--config", "sluice.yaml"}, arguments...)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(out, words) {
		s.t.Errorf("rollout %q: %v, want code %d and %q: %s", arguments, err, code, words, out)
	}
}

// becomes waits until show has these words.
func (s *site) becomes(words ...string) {
	s.t.Helper()
	if err := rig.Eventually(func() error {
		out, err := s.command("rollout", "show", "--config", "sluice.yaml")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				return fmt.Errorf("%q is missing: %s", w, out)
			}
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

// onlyAsked waits until all requests go to one side.
func (s *site) onlyAsked(busy, idle *origin) {
	s.t.Helper()
	if err := rig.Eventually(func() error {
		quiet, before := idle.asked.Load(), busy.asked.Load()
		if err := rig.Eventually(func() error {
			if busy.asked.Load() < before+50 {
				return errors.New("it is not asked")
			}
			return nil
		}); err != nil {
			return err
		}
		if n := idle.asked.Load() - quiet; n > 0 {
			return fmt.Errorf("the other side got %d requests", n)
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

const quick = `steps: [20%, 60%, 100%], every: 600ms, guard: { window: 200ms, minimum_requests: 20 }`

func TestCompletes(t *testing.T) {
	t.Parallel()
	s := begin(t, quick)
	defer s.clients()()
	s.becomes("status      completed", "100% of the requests go to v2")
	s.onlyAsked(s.new, s.old)
	if n := s.others.Load(); n > 0 {
		t.Errorf("%d answers came from nobody", n)
	}
	if n, err := s.Logged(`"rollout completed"`); n != 1 {
		t.Errorf("that it has completed was logged %d times: %v", n, err)
	}
	s.fails(1, "nothing to promote", "promote")
	// The next version gets the same names: it does not begin where this one has ended.
	s.configure("upstream: v2")
	if err := rig.Eventually(func() error {
		if out := s.rollout("list"); out != "no route has a rollout\n" {
			return errors.New(out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.configure(rollout(quick))
	s.becomes("status      completed")
	if n := strings.Count(s.Log(), `"status":"running","share":"20%"`); n != 2 {
		t.Errorf("it began %d times, want twice", n)
	}
}

func TestGoesBackAndStaysThere(t *testing.T) {
	t.Parallel()
	s := begin(t, `steps: [10%, 100%], every: 1s, guard: { window: 300ms, minimum_requests: 20 }`)
	s.new.status.Store(503)
	stop := s.clients()
	defer func() { stop() }()
	s.becomes("status      rolled back", "over the limit of 1%", "0% of the requests go to v2")
	s.onlyAsked(s.old, s.new)
	// No more than the step's share, with room for chance.
	if fresh, all := s.new.asked.Load(), s.old.asked.Load()+s.new.asked.Load(); fresh > all/10+3*50 {
		t.Errorf("the new side got %d of %d requests", fresh, all)
	}
	if _, metrics, err := s.Get("/metrics"); err != nil || !strings.Contains(metrics, `sluice_rollout_state{route="orders/all",state="rolled_back"} 1`) {
		t.Errorf("%v, the metrics do not tell", err)
	}
	if _, status, err := s.Get("/status"); err != nil || !strings.Contains(status, `"rolled_back"`) {
		t.Errorf("%v: %s", err, status)
	}
	if n, err := s.Logged("rollout rolled back"); n != 1 {
		t.Errorf("it was logged %d times: %v", n, err)
	}
	// A restart changes nothing, until somebody says so.
	stop()
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	s.start()
	stop = s.clients()
	s.becomes("status      rolled back", "over the limit of 1%")
	s.onlyAsked(s.old, s.new)
	if out, err := s.command("explain", "--config", "sluice.yaml", "GET", "/"); err != nil || !strings.Contains(out, "it is rolled back, with 0% of the requests on the new side") {
		t.Errorf("explain: %v: %s", err, out)
	}
	s.new.status.Store(200)
	if out := s.rollout("restart"); !strings.Contains(out, "orders/all begins anew: 10% of the requests go to v2") {
		t.Error(out)
	}
	s.becomes("status      completed")
}

func TestSteering(t *testing.T) {
	t.Parallel()
	// Nothing goes on by itself: each command is a process, which a busy machine takes its time to start.
	s := begin(t, "steps: [20%, 60%, 100%], every: 1h, guard: { window: 200ms, minimum_requests: 20 }")
	if out := s.rollout("pause", "orders/all"); !strings.Contains(out, "orders/all is paused: 20% of the requests go to v2") {
		t.Error(out)
	}
	defer s.clients()()
	s.fails(1, "only a roll-out that is running can be paused; this one is paused", "pause")
	s.fails(1, `did you mean "orders/all"?`, "pause", "order/all")
	s.fails(2, "accepts at most 1 arg", "pause", "a", "b")
	if out := s.rollout("list"); !strings.Contains(out, "orders/all  v1    v2  paused  20%    1 of 3") {
		t.Error(out)
	}
	if out := s.rollout("resume"); !strings.Contains(out, "goes on") {
		t.Error(out)
	}
	if out := s.rollout("promote"); !strings.Contains(out, "100% of the requests go to v2") {
		t.Error(out)
	}
	s.onlyAsked(s.new, s.old)
	if out := s.rollout("abort"); !strings.Contains(out, "is aborted: 0% of the requests go to v2") {
		t.Error(out)
	}
	s.onlyAsked(s.old, s.new)
	s.becomes("status      aborted since", "by an operator")
	out, err := s.command("rollout", "list", "--admin", "127.0.0.1:1")
	if err == nil || !strings.Contains(out, "no answer from the admin listener at 127.0.0.1:1") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestUnwritableStorage: a state that could not be kept is found out at the start.
func TestUnwritableStorage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(document, "127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1:1", "http://127.0.0.1:2", rollout("steps: [1%], storage: file/below"))
	if err := os.WriteFile(filepath.Join(dir, "sluice.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := rig.Start(dir, "sluice.yaml", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if code, err := g.Wait(); err != nil || code != 1 || !strings.Contains(g.Log(), "sluice.yaml:8:56: the folder for the state of roll-outs cannot be made") {
		t.Errorf("code %d, %v: %s", code, err, g.Log())
	}
}
