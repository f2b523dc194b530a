package upstream

import (
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/spill"
)

// GroupConfig describes an upstream that is made of others. It is compared with Equal, so that
// a reload can keep a group that did not change.
type GroupConfig struct {
	Name     string
	Members  []spill.Member
	Failover spill.Failover
	// MinimumWell is the share of a member's endpoints, by weight, that must be well for it to
	// get requests.
	MinimumWell float64

	RequestTimeout time.Duration // as in Config
	DeadlineField  string
}

// Equal says whether two configurations mean the same.
func (c *GroupConfig) Equal(d *GroupConfig) bool {
	return c.Name == d.Name && slices.Equal(c.Members, d.Members) && c.Failover == d.Failover &&
		c.MinimumWell == d.MinimumWell && c.RequestTimeout == d.RequestTimeout && c.DeadlineField == d.DeadlineField
}

// Member is what a group is made of: an *Upstream, or another *Group.
type Member interface {
	Name() string
	RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error
	// well says whether requests have a chance, with so much of the endpoints well at least.
	well(now int64, minimum float64) bool
}

// Group is an upstream that is made of others: it sends each request to the one that package
// spill chooses, and where that was not reached to the next. It is used by many goroutines.
type Group struct {
	config  GroupConfig
	members []Member
	spill   *spill.Group
	rated   bool // requests need the time at which a member is chosen, and not that of their beginning
}

// NewGroup makes a group; members are those of the configuration, in its order. Changes of
// their state are logged.
func NewGroup(config GroupConfig, members []Member, logger *slog.Logger) *Group {
	logger = logger.With("upstream", config.Name)
	c := spill.Config{
		Members:  config.Members,
		Failover: config.Failover,
		OnChange: func(c spill.Change) {
			if c.To == spill.Left {
				logger.Warn("member left", "member", c.Member, "reason", c.Reason.String(), "for", c.For.String(), "was", c.From.String())
				return
			}
			logger.Info("member comes back", "member", c.Member, "state", c.To.String(), "reason", c.Reason.String())
		},
	}
	return &Group{config: config, members: members, spill: spill.New(c), rated: c.Rated()}
}

// Adopt takes over what a group that this one replaces knows of its members. It is called
// before this one is used.
func (g *Group) Adopt(before *Group) { g.spill.Adopt(before.spill) }

// Name is the group's name.
func (g *Group) Name() string { return g.config.Name }

// Config is what the group was made of.
func (g *Group) Config() *GroupConfig { return &g.config }

// Members are those of the configuration, in its order.
func (g *Group) Members() []Member { return g.members }

// Views tells how the members do, for status and metrics.
func (g *Group) Views() []spill.View {
	now := message.Clock()
	return g.spill.Views(now, g.unwell(now))
}

// Refused is how many requests were refused because no member had room.
func (g *Group) Refused() int64 { return g.spill.Refused() }

// RoundTrip sends req to a member and fills resp, as Upstream.RoundTrip does. A member that
// was not reached, or that refuses, is followed by the next one, each at most once; one that
// may have had the request only if that may be repeated.
func (g *Group) RoundTrip(x *message.Exchange, req *message.Request, resp *message.Response) error {
	limitTime(x, req, g.config.RequestTimeout, g.config.DeadlineField)
	deadline := x.Deadline
	now := x.Moment()
	if g.rated {
		now = message.Clock() // The one extra look at the clock; a nested group with a rate has its own.
	}
	var past spill.Past
	var last error
	for {
		choice := g.spill.Choose(now, x.Shard, g.unwell(now), past)
		if !choice.OK {
			if last == nil { // What was asked before, by a target around this one, is no member.
				x.Facts.Upstream, x.Facts.Endpoint = "", ""
			}
			if last == nil || choice.Full {
				last = crowded(resp, choice.RetryAfter)
			}
			x.Facts.UpstreamGroup = g.config.Name
			return last
		}
		if last != nil {
			g.next(x, resp, deadline)
		}
		tellTime(x, req, g.config.DeadlineField)
		past.Tried = past.Tried.With(choice.Member)
		asked := x.Facts.Tries
		err := g.ask(x, req, resp, choice, deadline)
		x.Facts.UpstreamGroup = g.config.Name // Of groups in groups the outermost, which is written last.
		if err == nil {
			return nil
		}
		if over(x, deadline) || !goesOn(x, req, err, x.Facts.Tries > asked) {
			return err
		}
		if noRoom(err) {
			past.Full = past.Full.With(choice.Member)
		}
		last, now = err, message.Clock()
	}
}

// ask sends the request to a member, and tells what became of it.
func (g *Group) ask(x *message.Exchange, req *message.Request, resp *message.Response, choice spill.Choice, deadline time.Time) error {
	returned := false
	defer g.panicked(x, choice, &returned)
	err := g.members[choice.Member].RoundTrip(x, req, resp)
	returned = true
	if err == nil {
		g.spill.Done(choice, x.Now()+int64(x.Times.FirstByte), x.Shard, answered(x, resp))
		return nil
	}
	g.spill.Done(choice, message.Clock(), x.Shard, failed(x, err, deadline))
	return err
}

// next makes the exchange ready for another member.
func (g *Group) next(x *message.Exchange, resp *message.Response, deadline time.Time) {
	resp.Header.Del("Retry-After") // That of the member before is no news.
	x.Deadline = deadline          // A member's own holds as long as the member has the request.
	if !x.ClientDeadline.IsZero() {
		sooner(x, x.ClientDeadline)
	}
	x.Times.Waited = true // The next try begins now, and not with the exchange.
}

// over says that there is no time for another member.
func over(x *message.Exchange, deadline time.Time) bool {
	return !deadline.IsZero() && time.Until(deadline) <= 0 || !x.ClientDeadline.IsZero() && time.Until(x.ClientDeadline) <= 0
}

// panicked ends what was begun where a panic passes by.
func (g *Group) panicked(x *message.Exchange, choice spill.Choice, returned *bool) {
	if !*returned {
		g.spill.Done(choice, message.Clock(), x.Shard, spill.Unknown)
	}
}

// answered is what an answer says of a member.
func answered(x *message.Exchange, resp *message.Response) spill.Outcome {
	if bad, _ := failedTry(x, resp, nil); bad {
		return spill.Failed
	}
	return spill.Served
}

// failed is what a problem says of a member.
func failed(x *message.Exchange, err error, deadline time.Time) spill.Outcome {
	if noRoom(err) {
		return spill.Refused
	}
	switch err {
	case message.UpstreamNoEndpoint, message.UpstreamBroken:
		return spill.Unavailable
	case message.DeadlineExceeded: // The member's own, or that of the whole?
		if !over(x, deadline) {
			return spill.Failed
		}
	}
	if p, ok := err.(*message.Problem); ok && p.Source == message.SourceUpstream {
		return spill.Failed
	}
	return spill.Unknown
}

// noRoom says whether a member refuses because it has as much to do as it can.
func noRoom(err error) bool { return err == message.UpstreamOverloaded || err == message.UpstreamBusy }

// goesOn says whether another member may be asked after a problem: this one's own problem it
// must be, and nothing was sent, or it can be sent again and does no harm twice. It makes the
// body ready for that.
func goesOn(x *message.Exchange, req *message.Request, err error, sent bool) bool {
	if x.Wire().Started() || x.Wire().Gone() {
		return false
	}
	switch err {
	case message.UpstreamConnect, message.UpstreamConnectTime, message.UpstreamClosed, message.UpstreamTimeout, message.DeadlineExceeded,
		message.UpstreamBusy, message.UpstreamNoEndpoint, message.UpstreamOverloaded, message.UpstreamBroken:
	default:
		p, ok := err.(*message.Problem)
		garbage := ok && p.Code == message.UpstreamMalformed.Code // As good as none.
		if !ok || p.Source != message.SourceUpstream || sent && !garbage {
			return false
		}
	}
	// Of a body of which nothing was sent nothing was taken, whether or not it can be rewound.
	whole := req.Rewind()
	return !sent || whole && message.Idempotent(req.Method)
}

// crowded refuses a request for which nobody has room.
func crowded(resp *message.Response, after time.Duration) *message.Problem {
	seconds := int64((after + time.Second - 1) / time.Second)
	resp.Header.Set("Retry-After", strconv.FormatInt(max(seconds, 1), 10))
	return message.UpstreamOverloaded
}

// unwell are the members that say themselves that they cannot serve.
func (g *Group) unwell(now int64) spill.Set {
	var set spill.Set
	for i, m := range g.members {
		if !m.well(now, g.config.MinimumWell) {
			set = set.With(i)
		}
	}
	return set
}

// well says whether a member may serve. A minimum is each group's own.
func (g *Group) well(now int64, _ float64) bool { return g.spill.Well(now, g.unwell(now)) }

// well says whether enough endpoints are well, and the breaker of the upstream lets something
// through.
func (u *Upstream) well(now int64, minimum float64) bool {
	s := u.chosen.Load()
	if len(s.all) == 0 || s.well == 0 || s.well < minimum {
		return false
	}
	return u.breaker == nil || !u.breaker.Refuses(now)
}

// wellShare is the part of endpoints, by weight, that are well.
func wellShare(all []*Endpoint) float64 {
	well, whole := 0, 0
	for _, e := range all {
		whole += e.weight
		if e.ill.Load() == 0 {
			well += e.weight
		}
	}
	if whole == 0 {
		return 0
	}
	return float64(well) / float64(whole)
}
