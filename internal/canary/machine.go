package canary

import (
	"fmt"
	"time"
)

// Status is where a roll-out stands.
type Status string

const (
	Running    Status = "running"     // from step to step
	Paused     Status = "paused"      // an operator holds it: the share stays, the guard watches
	Completed  Status = "completed"   // all requests go to the new side
	RolledBack Status = "rolled_back" // the guard has taken the new side out
	Aborted    Status = "aborted"     // an operator has taken the new side out
)

// known says whether a word is a status.
func (s Status) known() bool {
	switch s {
	case Running, Paused, Completed, RolledBack, Aborted:
		return true
	}
	return false
}

// State is what survives a restart.
type State struct {
	Status Status `json:"status"`
	// Step is the current one, from 0; Share is what the new side gets, in millionths.
	Step  int   `json:"step"`
	Share int32 `json:"share"`
	// Elapsed is for how long the step has gone on; time in which it was paused, or the
	// gateway did not run, is no part of it.
	Elapsed time.Duration `json:"elapsed"`
	// Since is when the status came about, StepSince when the share did.
	Since     time.Time `json:"since"`
	StepSince time.Time `json:"step_since"`
	// Reason says why, for people: of a roll-back its figures.
	Reason string `json:"reason,omitempty"`
	// Baseline is what was last known of the old side with enough requests to compare with.
	Baseline Known `json:"baseline"`
}

// valid says whether a state that was read belongs to a plan.
func (s *State) valid(p *Plan) bool {
	return s.Status.known() && s.Step >= 0 && s.Step < len(p.Steps) && s.Share >= 0 && s.Share <= Whole && s.Elapsed >= 0
}

// Machine is one roll-out. It is used by one goroutine at a time.
type Machine struct {
	plan  Plan
	state State

	// What was seen in this step: in the current window, in the last one, and in several
	// up to now, of which the older half is forgotten from time to time.
	window, last, recent, older pair
	filled                      int    // windows in recent
	slow                        string // why the last window was slow; "" where it was not
	requests                    int64  // of the new side
	waiting                     string
}

// remembered is how many windows are in either half of what is judged beside the current one.
const remembered = 5

// pair is both sides over the same time.
type pair struct{ new, old Sample }

func (p *pair) add(new, old *Sample) {
	p.new.Add(new)
	p.old.Add(old)
}

// Reading is what both sides have answered since the reading before.
type Reading struct{ New, Old Sample }

// Begin starts a roll-out.
func Begin(plan Plan, now time.Time) *Machine {
	m := &Machine{plan: plan}
	m.enter(0, now)
	m.turn(Running, "", now)
	return m
}

// Resume goes on with what an earlier process knew; false where that makes no sense for
// this plan.
func Resume(plan Plan, state State) (*Machine, bool) {
	if !state.valid(&plan) {
		return nil, false
	}
	return &Machine{plan: plan, state: state}, true
}

// Hold is a roll-out of which nobody knows how far it was: nothing goes to the new side
// until an operator says so.
func Hold(plan Plan, reason string, now time.Time) *Machine {
	m := Begin(plan, now)
	m.state.Share = 0
	m.turn(Paused, reason, now)
	return m
}

// Adjust gives the roll-out other settings; its sides and steps are the same.
func (m *Machine) Adjust(plan Plan) { m.plan = plan }

// State is what is to be kept.
func (m *Machine) State() State { return m.state }

// Watching says whether the new side gets requests that it is judged by.
func (m *Machine) Watching() bool {
	return (m.state.Status == Running || m.state.Status == Paused) && m.state.Share > 0
}

// turn changes the status.
func (m *Machine) turn(to Status, reason string, now time.Time) {
	m.state.Status, m.state.Reason, m.state.Since = to, reason, now
	m.waiting = ""
}

// enter begins a step.
func (m *Machine) enter(step int, now time.Time) {
	m.state.Step, m.state.Elapsed = step, 0
	m.give(m.plan.Steps[step], now)
}

// give changes the share; what was seen before is no part of what is judged then.
func (m *Machine) give(share int32, now time.Time) {
	m.state.Share, m.state.StepSince = share, now
	m.window, m.last, m.recent, m.older = pair{}, pair{}, pair{}, pair{}
	m.filled, m.slow, m.requests = 0, "", 0
}

// Tick is called once in a window with what was seen since the tick before, elapsed ago.
// It says whether the share or the status has changed.
func (m *Machine) Tick(now time.Time, elapsed time.Duration, r *Reading) (changed bool) {
	if !m.Watching() {
		return false
	}
	m.window.add(&r.New, &r.Old)
	m.recent.add(&r.New, &r.Old)
	m.requests += r.New.Requests
	verdict, reason := m.judge()
	if verdict == bad {
		m.give(0, now)
		m.turn(RolledBack, reason, now)
		return true
	}
	if m.state.Status == Paused {
		return false
	}
	m.state.Elapsed += elapsed
	return m.advance(verdict, reason, now)
}

// judge looks at the window, which few requests make longer, and at those before it: a
// fault that is small shows in the long run only. It ends the window if that is full.
func (m *Machine) judge() (finding, string) {
	guard, long := &m.plan.Guard, m.long()
	if long.old.Requests >= guard.MinimumRequests {
		m.state.Baseline = long.old.Known()
	}
	verdict, reason := unsuspicious, ""
	for _, p := range []*pair{&m.window, &long} {
		if f, why := guard.judgeFailures(&p.new, m.oldOf(p)); f > verdict {
			verdict, reason = f, why
		}
	}
	if verdict == bad {
		return bad, reason
	}
	if slow := m.judgeLatency(&long); slow != "" {
		return bad, slow
	}
	m.slide()
	return verdict, reason
}

// judgeLatency looks at the window, at two of them, and at the two halves of what is
// remembered: then both parts must be slow. The first window of a step is no reason to go
// back by itself: a side that has nothing cached yet, or not for so many, is slow at first.
func (m *Machine) judgeLatency(long *pair) string {
	guard := &m.plan.Guard
	if m.window.new.Requests < guard.MinimumRequests {
		return ""
	}
	if m.last.new.Requests > 0 {
		if slow := guard.judgeLatency(&m.window.new, m.oldOf(&m.window)); slow != "" {
			return slow
		}
		two := m.last
		two.add(&m.window.new, &m.window.old)
		if slow := guard.judgeLatency(&two.new, m.oldOf(&two), &m.last.new, &m.window.new); slow != "" {
			return slow
		}
	}
	if m.older.new.Requests > 0 {
		return guard.judgeLatency(&long.new, m.oldOf(long), &m.older.new, &m.recent.new)
	}
	return ""
}

// slide begins a new window if this one has had enough requests.
func (m *Machine) slide() {
	if m.window.new.Requests < m.plan.Guard.MinimumRequests {
		return
	}
	m.slow = m.plan.Guard.judgeLatency(&m.window.new, m.oldOf(&m.window))
	m.last, m.window = m.window, pair{}
	if m.filled++; m.filled == remembered {
		m.older, m.recent, m.filled = m.recent, pair{}, 0
	}
}

// oldOf is what the new side is compared with over the same time, or what was last known.
func (m *Machine) oldOf(p *pair) Known {
	if p.old.Requests < m.plan.Guard.MinimumRequests {
		return m.state.Baseline
	}
	return p.old.Known()
}

// long is all that is remembered.
func (m *Machine) long() pair {
	p := m.older
	p.add(&m.recent.new, &m.recent.old)
	return p
}

// advance goes on to the next step if it is time, or notes what is waited for.
func (m *Machine) advance(verdict finding, reason string, now time.Time) (changed bool) {
	missing := m.plan.Guard.MinimumRequests - m.requests
	last := m.plan.last(m.state.Step)
	m.waiting = ""
	switch {
	case m.state.Elapsed < m.plan.Every:
		if verdict == shared {
			m.waiting = "both sides fail: " + reason
		}
		return false
	case verdict == shared:
		m.waiting = "both sides fail: " + reason
		return false
	case m.slow != "":
		m.waiting = "the last window was slow: " + m.slow
		return false
	case missing > 0:
		m.waiting = fmt.Sprintf("the new side must have had %d requests in this step, %d more", m.plan.Guard.MinimumRequests, missing)
		return false
	case !last:
		m.enter(m.state.Step+1, now)
		return true
	case m.state.Share == Whole:
		m.turn(Completed, "", now)
		return true
	}
	m.waiting = "the steps are done: promote it, or abort it"
	return false
}

// Action is what an operator wants.
type Action string

const (
	Pause         Action = "pause"   // stay at this share
	ResumeAction  Action = "resume"  // go on
	Promote       Action = "promote" // all requests to the new side, now
	Abort         Action = "abort"   // all requests to the old side, now
	RestartAction Action = "restart" // begin at the first step
)

// Actions lists them all.
func Actions() []Action { return []Action{Pause, ResumeAction, Promote, Abort, RestartAction} }

// Refusal is why an action does not fit the state.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return r.Text }

// Act does what an operator wants, or says in a *Refusal why it makes no sense now.
func (m *Machine) Act(action Action, now time.Time) error {
	s := &m.state
	const by = "by an operator"
	switch action {
	case Pause:
		if s.Status != Running {
			return m.refuse("only a roll-out that is running can be paused")
		}
		m.turn(Paused, by, now)
	case ResumeAction:
		if s.Status != Paused {
			return m.refuse("only a roll-out that is paused can be resumed")
		}
		m.turn(Running, "", now)
		if share := m.plan.Steps[s.Step]; share != s.Share { // It was held before its first step.
			m.give(share, now)
		}
	case Promote:
		if s.Status == Completed {
			return m.refuse("there is nothing to promote")
		}
		s.Step = len(m.plan.Steps) - 1
		m.give(Whole, now)
		m.turn(Completed, by, now)
	case Abort:
		if s.Status == Aborted || s.Status == RolledBack {
			return m.refuse("there is nothing to abort: no request goes to the new side")
		}
		m.give(0, now)
		m.turn(Aborted, by, now)
	case RestartAction:
		m.enter(0, now)
		m.turn(Running, "", now)
	default:
		return &Refusal{fmt.Sprintf("%q is nothing that can be done to a roll-out", action)}
	}
	return nil
}

func (m *Machine) refuse(text string) error {
	return &Refusal{text + "; this one is " + m.state.Status.Words()}
}

// Words is the status for people.
func (s Status) Words() string {
	if s == RolledBack {
		return "rolled back"
	}
	return string(s)
}

// View is what operators see of a roll-out.
type View struct {
	Route string
	Plan  Plan
	State
	// Waiting is what the next step waits for beyond its time; "": nothing.
	Waiting string
	// New and Old are what both sides have answered lately, in this step.
	New, Old Known
	// Follower says that another process decides.
	Follower bool
	// NewRequests and so on are counted since the gateway has begun with this roll-out.
	NewRequests, NewFailed, OldRequests, OldFailed int64
}

// View is how the roll-out stands.
func (m *Machine) View() View {
	seen := m.long()
	return View{Plan: m.plan, State: m.state, Waiting: m.waiting, New: seen.new.Known(), Old: seen.old.Known()}
}
