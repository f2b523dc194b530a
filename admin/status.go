package admin

import "time"

// Readiness says whether traffic should be sent here.
type Readiness struct {
	// Ready is true when a revision is applied and the gateway is not draining.
	Ready bool `json:"ready"`
	// Reason says why it is not ready, for people; "" where it is.
	Reason string `json:"reason,omitempty"`
	// Revision and Hash are those of the configuration that is applied; 0 and ""
	// before the first one.
	Revision uint64 `json:"revision"`
	Hash     string `json:"hash,omitempty"`
}

// Status is what the gateway is doing. Whoever fills it leaves out credentials.
type Status struct {
	Version       string    `json:"version"`
	Started       time.Time `json:"started"`
	UptimeSeconds float64   `json:"uptime_seconds"`
	Readiness
	Reload    Reload     `json:"reload"`
	Routes    int        `json:"routes"`
	Kept      int        `json:"kept"` // states that policies keep over reloads
	Listeners []Listener `json:"listeners"`
	Upstreams []Upstream `json:"upstreams"`
	Rollouts  []Rollout  `json:"rollouts,omitempty"`
}

// withLists makes lists of what is nil, so that readers find a list and not null.
func (s Status) withLists() Status {
	if s.Listeners == nil {
		s.Listeners = []Listener{}
	}
	s.Upstreams = append([]Upstream{}, s.Upstreams...)
	for i := range s.Upstreams {
		if s.Upstreams[i].Endpoints == nil {
			s.Upstreams[i].Endpoints = []Endpoint{}
		}
	}
	return s
}

// Reload is the last attempt to apply a configuration, the first one included.
type Reload struct {
	// Result is ReloadNone, ReloadSuccess or ReloadFailure.
	Result string    `json:"result"`
	At     time.Time `json:"at,omitzero"`
	// Error is what was wrong with the configuration that was refused.
	Error string `json:"error,omitempty"`
}

// The values of Reload.Result.
const (
	ReloadNone    = "none"
	ReloadSuccess = "success"
	ReloadFailure = "failure"
)

// Listener is a socket on which clients are served.
type Listener struct {
	Name        string `json:"name"`
	Address     string `json:"address"` // that it is bound to
	Connections int    `json:"connections"`
}

// Upstream is a set of origins.
type Upstream struct {
	Name        string       `json:"name"`
	Endpoints   []Endpoint   `json:"endpoints"`
	Discovery   *Discovery   `json:"discovery,omitempty"`
	Concurrency *Concurrency `json:"concurrency,omitempty"`
	Breaker     *Breaker     `json:"breaker,omitempty"` // of all endpoints together
	Members     []Member     `json:"members,omitempty"` // of an upstream that is made of others, level by level
}

// Member is an upstream that is a part of another one, and how it does there.
type Member struct {
	Upstream string `json:"upstream"`
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`
	// State is serving, full, left or returning; Words say it with what follows from it.
	State string `json:"state"`
	Words string `json:"words"`
	// Since the beginning: the requests that it got, those of them that spilled to it and that
	// failed, and how often it was passed over because it had no room.
	Requests   int64 `json:"requests"`
	Spilled    int64 `json:"spilled"`
	Failures   int64 `json:"failures"`
	PassedOver int64 `json:"passed_over"`
}

// Concurrency is how busy an upstream with a limit is.
type Concurrency struct {
	Limit   int `json:"limit"`
	Active  int `json:"active"`
	Waiting int `json:"waiting"`
	// Refused is how many were not let through since the upstream was made.
	Refused int64 `json:"refused"`
	// Latency without and with what waits at the origins, as an adaptive limit sees them; absent
	// without one.
	BaseSeconds    float64 `json:"base_seconds,omitempty"`
	LatencySeconds float64 `json:"latency_seconds,omitempty"`
}

// Discovery is how the source of an upstream's endpoints does.
type Discovery struct {
	Source  string `json:"source"`
	Updates uint64 `json:"updates"`
	Faults  uint64 `json:"faults"`
	// LastGood is when it last had a good list, changed or not; absent: never.
	LastGood time.Time `json:"last_good,omitzero"`
	// Failing says that its last look failed: the endpoints are those of LastGood.
	Failing bool `json:"failing"`
	// LastFault is the last fault, which may be over.
	LastFault   string    `json:"last_fault,omitempty"`
	LastFaultAt time.Time `json:"last_fault_at,omitzero"`
}

// Endpoint is one origin.
type Endpoint struct {
	Address string `json:"address"`
	// State is healthy, or why the endpoint gets no requests: unhealthy, ejected. Illnesses are
	// all reasons for that, and Since is when they became so.
	State     string    `json:"state"`
	Illnesses []string  `json:"illnesses,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	// Check is the last active check, absent before the first.
	Check *Check `json:"check,omitempty"`
	// Ejection and Breaker are absent where the upstream has none.
	Ejection *Ejection `json:"ejection,omitempty"`
	Breaker  *Breaker  `json:"breaker,omitempty"`

	Weight   int    `json:"weight"`
	Priority int    `json:"priority"`
	Zone     string `json:"zone,omitempty"`
	// Open counts connections; Idle those of them that wait in the pool.
	Open int `json:"open"`
	Idle int `json:"idle"`
	// Active counts exchanges that are under way.
	Active int64 `json:"active"`
}

// Check is one look at whether an endpoint is well.
type Check struct {
	At     time.Time `json:"at"`
	Result string    `json:"result"` // good or bad
	Detail string    `json:"detail,omitempty"`
}

// Ejection is what is known of an endpoint's ejections.
type Ejection struct {
	Count int `json:"count"` // so far
	// Reason is that of the last one. Until is when the endpoint may return, where it is out.
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// Breaker is what a breaker does.
type Breaker struct {
	State string `json:"state"` // closed, open or half_open
	// Until is when an open one lets a probe through.
	Until time.Time `json:"until,omitzero"`
	// Outcomes are the tries in the window, with Failures and Slow ones among them.
	Outcomes int64 `json:"outcomes"`
	Failures int64 `json:"failures"`
	Slow     int64 `json:"slow"`
	// Opened is how often it has opened, Refused how many tries it has not let through.
	Opened  int64 `json:"opened"`
	Refused int64 `json:"refused"`
}
