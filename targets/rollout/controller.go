package rollout

import (
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/target"
)

// controller is what survives a reload of one roll-out: its counters, the machine that
// decides, and the goroutine that asks it once in a window. Requests read its share and
// count; they take no lock.
type controller struct {
	share    atomic.Int32
	old, new canary.Meter

	route  string
	logger *slog.Logger

	mu      sync.Mutex // guards what follows; held while the file is written
	machine *canary.Machine
	plan    canary.Plan
	file    *file
	// driving says that this process decides: it has the lock of the file.
	driving  bool
	released bool // another process is to decide
	unsaved  bool // the last try to save has failed, which is logged
	saved    time.Time
	ticked   time.Time
	before   canary.Reading // the counters at the last tick
	stop     chan struct{}  // nil while nothing runs
	stopped  chan struct{}
}

// saveEvery is how often progress within a step is written down.
const saveEvery = 10 * time.Second

// newController makes one that serves the old side until it is started.
func newController(env *target.Env, plan *canary.Plan) *controller {
	logger := env.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &controller{route: env.Route, plan: *plan, logger: logger.With("route", env.Route, "from", plan.From, "to", plan.To)}
}

// use puts a plan in force. It is called at each reload, with the file of the route.
func (c *controller) use(plan canary.Plan, f *file) {
	f.give(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.driving && c.file != f {
		c.move(f)
	}
	c.plan, c.file, c.released = plan, f, false
	if c.machine != nil {
		c.machine.Adjust(plan)
	}
	if c.stop == nil {
		c.ticked = time.Now()
		c.stop, c.stopped = make(chan struct{}), make(chan struct{})
		go c.run(c.stop, c.stopped)
	}
	c.lead()
}

// move takes the state along to another folder, if nobody has a roll-out of this route there.
func (c *controller) move(to *file) {
	from := c.file
	locked, err := to.lock()
	if c.driving = locked && err == nil; c.driving {
		c.file = to
		c.save(time.Now())
		if err := from.remove(c); err != nil {
			c.logger.Error("the state of a roll-out cannot be removed from where it was", "path", from.path, "error", err)
		}
	}
	from.unlock()
}

// leave is called when another controller has the route's file: what this one decides
// is for exchanges of an old snapshot only.
func (c *controller) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	c.driving, c.machine = false, nil // Whoever takes it up again begins with the file.
}

// lead takes the lead if nobody else has it, or follows who has. The lock of the file
// tells.
func (c *controller) lead() {
	if c.driving || c.file == nil {
		return
	}
	now := time.Now()
	if c.released {
		c.follow(now)
		return
	}
	locked, err := c.file.lock()
	if err != nil {
		c.complain("the lock of a roll-out cannot be had; nobody decides", err)
		c.follow(now)
		return
	}
	if !locked {
		c.follow(now)
		return
	}
	c.driving = true
	c.machine = c.load(now)
	c.publish()
	c.save(now)
	s := c.machine.State()
	c.logger.Info("rollout in force", "status", s.Status, "share", canary.Percent(s.Share), "reason", s.Reason)
}

// load begins with what the file says, or anew.
func (c *controller) load(now time.Time) *canary.Machine {
	kept, err := c.file.load()
	if err != nil {
		_ = os.Rename(c.file.path, c.file.path+".unreadable") // For people to look at; it is no matter if that fails.
		c.logger.Error("the state of a roll-out cannot be read; it is paused, with all requests on the old side", "path", c.file.path, "error", err)
		return canary.Hold(c.plan, "its state could not be read: resume, promote or abort it", now)
	}
	if kept == nil || kept.Identity != c.plan.Identity() {
		return canary.Begin(c.plan, now)
	}
	m, ok := canary.Resume(c.plan, kept.State)
	if !ok {
		c.logger.Error("the state of a roll-out makes no sense; it is paused, with all requests on the old side", "path", c.file.path)
		return canary.Hold(c.plan, "its state made no sense: resume, promote or abort it", now)
	}
	return m
}

// follow does as the process that decides; until that has written something about this
// plan, all goes to the old side.
func (c *controller) follow(now time.Time) {
	if c.machine == nil {
		c.machine = canary.Hold(c.plan, "another process decides", now)
		c.logger.Info("rollout follows another process, which has the lock of its state", "path", c.file.path)
	}
	if kept, err := c.file.load(); err == nil && kept != nil && kept.Identity == c.plan.Identity() {
		if m, ok := canary.Resume(c.plan, kept.State); ok {
			c.machine = m
		}
	}
	c.publish()
}

// publish tells the requests.
func (c *controller) publish() { c.share.Store(c.machine.State().Share) }

// run asks the machine once in a window.
func (c *controller) run(stop, stopped chan struct{}) {
	defer close(stopped)
	for {
		c.mu.Lock()
		timer := time.NewTimer(c.plan.Guard.Window)
		c.mu.Unlock()
		select {
		case <-stop:
			timer.Stop()
			return
		case <-timer.C:
			c.tick()
		}
	}
}

func (c *controller) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.machine == nil {
		return
	}
	now := time.Now()
	elapsed := now.Sub(c.ticked)
	c.ticked = now
	r := c.read()
	if !c.driving {
		c.lead()
		return
	}
	if !c.machine.Watching() {
		return
	}
	changed := c.machine.Tick(now, elapsed, &r)
	if changed {
		c.publish()
		c.tell()
	}
	if changed || now.Sub(c.saved) >= saveEvery {
		c.save(now)
	}
}

// read is what both sides have answered since it was called last.
func (c *controller) read() canary.Reading {
	all := canary.Reading{New: c.new.Read(), Old: c.old.Read()}
	r := canary.Reading{New: all.New.Since(&c.before.New), Old: all.Old.Since(&c.before.Old)}
	c.before = all
	return r
}

// tell logs what the machine has decided.
func (c *controller) tell() {
	s := c.machine.State()
	attributes := []any{"status", s.Status, "step", s.Step + 1, "share", canary.Percent(s.Share)}
	switch s.Status {
	case canary.RolledBack:
		c.logger.Error("rollout rolled back", append(attributes, "reason", s.Reason)...)
	case canary.Completed:
		c.logger.Info("rollout completed", attributes...)
	default:
		c.logger.Info("rollout goes on", attributes...)
	}
}

// save writes the state down, if this process decides.
func (c *controller) save(now time.Time) {
	if !c.driving || c.file == nil || c.machine == nil {
		return
	}
	c.saved = now
	if err := c.file.save(c, &kept{Version: fileVersion, Route: c.route, Identity: c.plan.Identity(), State: c.machine.State()}); err != nil {
		c.complain("the state of a roll-out cannot be written; a restart would not know it", err)
		return
	}
	c.unsaved = false
}

// complain logs once until it is well again.
func (c *controller) complain(text string, err error) {
	if !c.unsaved {
		c.logger.Error(text, "path", c.file.path, "error", err)
	}
	c.unsaved = true
}

// View is what operators see.
func (c *controller) View() canary.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := canary.View{Plan: c.plan}
	if c.machine != nil {
		v = c.machine.View()
	}
	v.Route, v.Follower = c.route, !c.driving
	fresh, stale := c.new.Read(), c.old.Read()
	v.NewRequests, v.NewFailed, v.OldRequests, v.OldFailed = fresh.Requests, fresh.Failed, stale.Requests, stale.Failed
	return v
}

// Steer does what an operator wants.
func (c *controller) Steer(action canary.Action) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.driving || c.machine == nil {
		return &canary.Refusal{Text: "another process decides about this roll-out: ask that one"}
	}
	now := time.Now()
	if err := c.machine.Act(action, now); err != nil {
		return err
	}
	c.read() // What was answered before is no part of what is judged from now on.
	c.ticked = now
	c.publish()
	c.save(now)
	s := c.machine.State()
	c.logger.Info("rollout steered", "action", action, "status", s.Status, "step", s.Step+1, "share", canary.Percent(s.Share))
	return nil
}

// Remove forgets all: the route has no roll-out any more. Exchanges of the old snapshot go
// on with the share that there is.
func (c *controller) Remove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	if c.driving {
		if err := c.file.remove(c); err != nil {
			c.logger.Error("the state of a roll-out that is gone cannot be removed; a later one of the same sides would go on with it", "path", c.file.path, "error", err)
		}
		c.file.unlock()
	}
	c.driving, c.machine, c.file = false, nil, nil
}

// Release lets another process decide; this one goes on with the share that it has.
func (c *controller) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.save(time.Now())
	c.driving, c.released = false, true
	if c.file != nil {
		c.file.unlock()
	}
}

// end stops the goroutine. It is called with the lock held, which it gives back meanwhile.
func (c *controller) end() {
	stop, stopped := c.stop, c.stopped
	c.stop = nil
	if stop == nil {
		return
	}
	close(stop)
	c.mu.Unlock()
	<-stopped
	c.mu.Lock()
}

// Close is called when no exchange uses the roll-out any more.
func (c *controller) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	c.save(time.Now())
	c.driving = false
	return nil
}
