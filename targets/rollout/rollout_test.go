package rollout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/internal/keep"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
)

// origins are upstreams whose answers a test decides about.
type origins struct {
	asked  map[string]*atomic.Int64
	status map[string]*atomic.Int64
	took   map[string]time.Duration
}

func newOrigins() *origins {
	o := &origins{map[string]*atomic.Int64{}, map[string]*atomic.Int64{}, map[string]time.Duration{}}
	for _, name := range []string{"v1", "v2", "v3"} {
		o.asked[name], o.status[name] = &atomic.Int64{}, &atomic.Int64{}
		o.status[name].Store(200)
	}
	return o
}

type origin struct {
	name string
	*origins
}

func (o origin) Name() string { return o.name }

func (o origin) RoundTrip(x *message.Exchange, _ *message.Request, resp *message.Response) error {
	o.asked[o.name].Add(1)
	x.Facts.Upstream, resp.Status = o.name, int(o.status[o.name].Load())
	x.Times.FirstByte = o.took[o.name]
	return nil
}

// gateway builds the target again and again, as reloads do, over one folder.
type gateway struct {
	t      *testing.T
	keeper *keep.Keeper
	folder string
	*origins
}

func newGateway(t *testing.T) *gateway {
	return &gateway{t, keep.New(), t.TempDir(), newOrigins()}
}

// loaded is the target in one snapshot.
type loaded struct {
	*gateway
	target.Handler
	rollout target.Rollout
	lease   *keep.Lease
}

const short = "{ from: v1, to: v2, steps: [10%, 50%, 100%], every: 10s, guard: { window: 1s, p99: 1.5x, minimum_requests: 50 } }"

func (g *gateway) build(text string) (*loaded, error) {
	g.t.Helper()
	node, err := config.ParseNode("s.yaml", []byte(text))
	if err != nil {
		g.t.Fatal(err)
	}
	var rollouts []target.Rollout
	env := &target.Env{Route: "orders/**", Folder: g.folder, Lease: g.keeper.Lease(), Rollouts: &rollouts, Logger: slog.New(slog.DiscardHandler),
		Upstream: func(name string) (target.RoundTripper, error) {
			if g.asked[name] == nil {
				return nil, errors.New("no upstream " + name)
			}
			return origin{name, g.origins}, nil
		}}
	h, err := Kind.Build(node, env)
	if err != nil {
		_ = env.Lease.Close()
		return nil, err
	}
	return &loaded{g, h, rollouts[0], env.Lease}, nil
}

// load builds it and puts it in force.
func (g *gateway) load(text string) *loaded {
	g.t.Helper()
	l, err := g.build(text)
	if err != nil {
		g.t.Fatal(err)
	}
	l.rollout.Start()
	return l
}

func (l *loaded) close() {
	l.t.Helper()
	if err := l.lease.Close(); err != nil {
		l.t.Error(err)
	}
}

// serve asks n times in each of some seconds.
func (l *loaded) serve(seconds, n int) {
	l.t.Helper()
	x := &message.Exchange{}
	for range seconds {
		for range n {
			x.Reset()
			if err := l.Serve(x); err != nil {
				l.t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
	}
}

func (l *loaded) expect(status canary.Status, share int32) {
	l.t.Helper()
	if v := l.rollout.View(); v.Status != status || v.Share != share {
		l.t.Fatalf("%s with %s, want %s with %s; reason %q, waiting %q", v.Status, canary.Percent(v.Share), status, canary.Percent(share), v.Reason, v.Waiting)
	}
}

const percentOf = canary.Whole / 100

func TestGoesThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newGateway(t).load(short)
		defer l.close()
		l.expect(canary.Running, 10*percentOf)
		l.serve(11, 600)
		l.expect(canary.Running, 50*percentOf)
		l.serve(10, 600)
		l.expect(canary.Running, canary.Whole)
		l.serve(10, 600)
		l.expect(canary.Completed, canary.Whole)
		before := l.asked["v1"].Load()
		l.serve(1, 100)
		if l.asked["v1"].Load() != before {
			t.Error("the old side is asked though the roll-out is complete")
		}
	})
}

func TestGoesBack(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(o *origins){
		"failing": func(o *origins) { o.status["v2"].Store(500) },
		"slow":    func(o *origins) { o.took["v1"], o.took["v2"] = 20*time.Millisecond, 40*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newGateway(t).load(short)
				defer l.close()
				spoil(l.origins)
				l.serve(3, 600)
				l.expect(canary.RolledBack, 0)
				if v := l.rollout.View(); v.Reason == "" {
					t.Error("no reason is given")
				}
				before := l.asked["v2"].Load()
				l.serve(60, 100)
				l.expect(canary.RolledBack, 0)
				if l.asked["v2"].Load() != before {
					t.Error("the new side is asked after it was taken out")
				}
			})
		})
	}
}

// TestReload: the state stays where the sides and the steps do, and begins anew where they
// do not; settings change without that.
func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		first := g.load(short)
		first.serve(11, 600)
		first.expect(canary.Running, 50*percentOf)
		second := g.load(strings.Replace(short, "10s", "20s", 1))
		second.expect(canary.Running, 50*percentOf)
		first.close()
		second.serve(15, 600)
		second.expect(canary.Running, 50*percentOf)
		second.serve(6, 600)
		second.expect(canary.Running, canary.Whole)
		third := g.load(strings.Replace(short, "v2", "v3", 1))
		third.expect(canary.Running, 10*percentOf)
		// An exchange of the old snapshot has no say, and neither has its end.
		if err := second.rollout.Steer(canary.Abort); err == nil {
			t.Error("the roll-out before can be steered")
		}
		second.close()
		third.serve(11, 600)
		third.expect(canary.Running, 50*percentOf)
		third.close()
		fourth := newGatewayIn(g).load(strings.Replace(short, "v2", "v3", 1))
		fourth.expect(canary.Running, 50*percentOf)
		fourth.close()
	})
}

// newGatewayIn is another process with the same folder.
func newGatewayIn(g *gateway) *gateway { return &gateway{g.t, keep.New(), g.folder, newOrigins()} }

func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		l := g.load(short)
		l.status["v2"].Store(500)
		l.serve(3, 600)
		l.expect(canary.RolledBack, 0)
		reason := l.rollout.View().Reason
		l.close()
		time.Sleep(time.Hour)
		l = newGatewayIn(g).load(short)
		l.expect(canary.RolledBack, 0)
		if v := l.rollout.View(); v.Reason != reason {
			t.Errorf("reason %q, want %q", v.Reason, reason)
		}
		if err := l.rollout.Steer(canary.RestartAction); err != nil {
			t.Fatal(err)
		}
		l.expect(canary.Running, 10*percentOf)
		l.serve(6, 600)
		l.close() // In the middle of a step: the rest of its time is left.
		time.Sleep(time.Hour)
		l = newGatewayIn(g).load(short)
		l.serve(3, 600)
		l.expect(canary.Running, 10*percentOf)
		l.serve(2, 600)
		l.expect(canary.Running, 50*percentOf)
		l.close()
	})
}

// TestDamagedState: nothing goes to the new side until somebody says so.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON":       "{",
		"empty":         "",
		"later version": `{"version": 2}`,
		"no such step":  `{"version": 1, "identity": "v1 v2 100000,500000,1000000", "state": {"status": "running", "step": 3, "share": 100}}`,
		"no status":     `{"version": 1, "identity": "v1 v2 100000,500000,1000000", "state": {"status": "flying"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t)
				path := statePath(&target.Env{Route: "orders/**", Folder: g.folder}, &Config{Storage: "rollouts"})
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				l := g.load(short)
				defer l.close()
				l.expect(canary.Paused, 0)
				l.serve(30, 100)
				l.expect(canary.Paused, 0)
				if err := l.rollout.Steer(canary.ResumeAction); err != nil {
					t.Fatal(err)
				}
				l.expect(canary.Running, 10*percentOf)
			})
		})
	}
}

// TestTwoProcesses: while a process hands over to the next, the one that has the lock
// decides, and the other does the same.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		before := g.load(short)
		defer before.close()
		before.serve(11, 600)
		after := newGatewayIn(g).load(short)
		defer after.close()
		after.expect(canary.Running, 50*percentOf)
		if err := after.rollout.Steer(canary.Abort); err == nil || !after.rollout.View().Follower {
			t.Errorf("a follower decides: %v", err)
		}
		before.rollout.Release()
		after.serve(2, 600)
		if after.rollout.View().Follower {
			t.Fatal("nobody decides")
		}
		if err := after.rollout.Steer(canary.Abort); err != nil {
			t.Fatal(err)
		}
		before.serve(2, 10)
		before.expect(canary.Aborted, 0)
	})
}

// TestRemoved: a configuration without the roll-out forgets it, whether an exchange of the
// old one is still there or not.
func TestRemoved(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]bool{"at once": false, "held by an exchange": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t)
				l := g.load(short)
				if err := l.rollout.Steer(canary.Promote); err != nil {
					t.Fatal(err)
				}
				path := l.rollout.(*rollout).file.path
				l.rollout.Remove()
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the state is still there: %v", err)
				}
				before := l.asked["v1"].Load()
				l.serve(3, 100)
				if l.asked["v1"].Load() != before {
					t.Error("an exchange of the old snapshot goes to another side")
				}
				if !held {
					l.close()
				}
				again := g.load(short)
				again.expect(canary.Running, 10*percentOf)
				if held {
					l.close()
				}
				again.serve(11, 600)
				again.expect(canary.Running, 50*percentOf)
				again.close()
			})
		})
	}
}

// TestMoved: another folder gets the state, and the old one has it no more.
func TestMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		first := g.load(short)
		first.serve(11, 600)
		before := first.rollout.(*rollout).file.path
		second := g.load(strings.Replace(short, "{ from", "{ storage: elsewhere, from", 1))
		first.close()
		second.serve(1, 600)
		second.expect(canary.Running, 50*percentOf)
		if err := second.rollout.Steer(canary.Abort); err != nil {
			t.Fatal(err)
		}
		k, err := load(second.rollout.(*rollout).file.path)
		if err != nil || k == nil || k.State.Status != canary.Aborted {
			t.Errorf("%+v, %v", k, err)
		}
		if k, err := load(before); k != nil || err != nil {
			t.Errorf("it is still there: %+v, %v", k, err)
		}
		second.close()
	})
}

// TestRefusedReload: a configuration that was built and not put in force changes nothing.
func TestRefusedReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		l := g.load(short)
		defer l.close()
		refused, err := g.build(strings.Replace(short, "v2", "v3", 1))
		if err != nil {
			t.Fatal(err)
		}
		refused.close()
		l.serve(11, 600)
		l.expect(canary.Running, 50*percentOf)
	})
}

// TestKeyKeepsUsers: whoever is on the new side stays there as its share grows.
func TestKeyKeepsUsers(t *testing.T) {
	t.Parallel()
	key, err := template.ParseKey("{consumer.name}")
	if err != nil {
		t.Fatal(err)
	}
	r := &rollout{controller: &controller{}, key: key}
	const users = 10_000
	on := make([]bool, users)
	x := &message.Exchange{}
	x.Facts.Consumer = &message.Consumer{}
	for _, share := range []int32{0, 1, 10, 50, 100} {
		r.share.Store(share * percentOf)
		count := 0
		for i := range on {
			x.Facts.Consumer.Name = fmt.Sprint("user-", i)
			is := r.isNew(x)
			if on[i] && !is {
				t.Fatalf("%d%%: user %d goes back", share, i)
			}
			if on[i] = is; is {
				count++
			}
		}
		if got := float64(count) / users * 100; math.Abs(got-float64(share)) > 2 {
			t.Errorf("%d%%: %.2f%% are on the new side", share, got)
		}
	}
}

// TestOutcomes: what counts as a failure, and what says nothing.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		status        int
		grpc          string
		err           error
		failed, known bool
		timed         bool
	}{
		{"200", 200, "", nil, false, true, true},
		{"404", 404, "", nil, false, true, true},
		{"500", 500, "", nil, true, true, true},
		{"grpc ok", 200, "0", nil, false, true, true},
		{"grpc not found", 200, "5", nil, false, true, true},
		{"grpc unavailable", 200, "14", nil, true, true, true},
		{"connect", 0, "", message.UpstreamConnect, true, true, false},
		{"broken", 0, "", message.UpstreamBroken, true, true, false},
		{"no endpoint", 0, "", message.UpstreamNoEndpoint, true, true, false},
		{"timeout", 0, "", message.UpstreamTimeout, true, true, true},
		{"deadline", 0, "", message.DeadlineExceeded, true, true, true},
		{"client gone", 0, "", message.ClientGone, false, false, false},
		{"descriptors", 0, "", message.OutOfDescriptors, false, false, false},
		{"a fault", 0, "", errors.New("wrong"), true, true, false},
	} {
		x := &message.Exchange{}
		x.Times.Started = time.Now()
		x.Request.Method, x.Response.Status = "POST", test.status
		if test.grpc != "" {
			x.Request.Header.Add("Content-Type", "application/grpc")
			x.Response.Header.Add("Grpc-Status", test.grpc)
		}
		failed, took, known := outcome(x, test.err)
		if failed != test.failed || known != test.known || known && (took >= 0) != test.timed {
			t.Errorf("%s: failed %v, known %v, took %v", test.name, failed, known, took)
		}
	}
}

func TestAllocations(t *testing.T) {
	g := newGateway(t)
	l := g.load(strings.Replace(short, "{ from", "{ key: '{consumer.name}', from", 1))
	defer l.close()
	x := &message.Exchange{}
	x.Facts.Consumer = &message.Consumer{Name: "ann"}
	if n := testing.AllocsPerRun(100, func() { _ = l.Serve(x) }); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
}

// TestStatePaths: two routes never share a file, and none leaves the folder.
func TestStatePaths(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	long := strings.Repeat("x/", 200)
	for _, route := range []string{"orders", "orders.", "/orders", "*.example.com/**", "..", "a/../../b", "a%2Fb", "a/b", "a b", "a+b", long, long + "y", "ORDERS"} {
		path := statePath(&target.Env{Route: route, Folder: "/etc/sluice"}, &Config{Storage: "rollouts"})
		if filepath.Dir(path) != "/etc/sluice/rollouts" || len(filepath.Base(path)) > 220 {
			t.Errorf("%q is kept in %s", route, path)
		}
		if other, taken := seen[path]; taken {
			t.Errorf("%q and %q share %s", route, other, path)
		}
		seen[path] = route
	}
	if path := statePath(&target.Env{Route: "a", Folder: "/etc"}, &Config{Storage: "/var/lib/sluice"}); path != "/var/lib/sluice/a.json" {
		t.Errorf("an absolute folder: %s", path)
	}
}

// FuzzLoad: whatever stands in the file, nothing but a state that fits is taken.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version": 1, "identity": "v1 v2 100000", "state": {"status": "running", "step": 0, "share": 100000}}`))
	f.Add([]byte(`{"version": 1, "state": {"elapsed": -1}}`))
	f.Add([]byte("\x00"))
	plan := canary.Plan{From: "v1", To: "v2", Steps: []int32{100_000}}
	path := filepath.Join(f.TempDir(), "a.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := load(path)
		if err != nil || k == nil {
			return
		}
		if m, ok := canary.Resume(plan, k.State); ok {
			if s := m.State(); s.Share < 0 || s.Share > canary.Whole || s.Step != 0 || s.Elapsed < 0 {
				t.Errorf("%+v", s)
			}
			m.Tick(time.Now(), time.Second, &canary.Reading{})
		}
		stateWords(path, &plan)
	})
}

// lines counts the lines of a log.
type lines struct {
	slog.Handler
	mu   sync.Mutex
	seen map[string]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[r.Message]++
	return nil
}

// TestStateCannotBeWritten: the roll-out goes on, it is told once, and written when that is
// possible again.
func TestStateCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		l := g.load(short)
		defer l.close()
		log := &lines{Handler: slog.DiscardHandler, seen: map[string]int{}}
		c := l.rollout.(*rollout).controller
		c.mu.Lock()
		c.logger = slog.New(log)
		c.mu.Unlock()
		folder := filepath.Join(g.folder, "rollouts")
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		l.serve(24, 600)
		l.expect(canary.Running, canary.Whole)
		if n := log.seen["the state of a roll-out cannot be written; a restart would not know it"]; n != 1 {
			t.Errorf("it was told %d times: %v", n, log.seen)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		l.serve(11, 600)
		l.expect(canary.Completed, canary.Whole)
		if k, err := load(c.file.path); err != nil || k == nil || k.State.Status != canary.Completed {
			t.Errorf("%+v, %v", k, err)
		}
		if files, err := filepath.Glob(filepath.Join(folder, "*.new")); err != nil || len(files) > 0 {
			t.Errorf("left over: %q, %v", files, err)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	plan := canary.Plan{From: "v1", To: "v2", Steps: []int32{percentOf}}
	o := newOrigins()
	r := &rollout{controller: newController(&target.Env{Route: "a"}, &plan), from: origin{"v1", o}, to: origin{"v2", o}, plan: plan}
	r.share.Store(percentOf)
	x := &message.Exchange{}
	for b.Loop() {
		_ = r.serve(x)
	}
}

func BenchmarkOriginAlone(b *testing.B) {
	v1 := origin{"v1", newOrigins()}
	x := &message.Exchange{}
	for b.Loop() {
		_ = v1.RoundTrip(x, &x.Request, &x.Response)
	}
}
