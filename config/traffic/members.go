package traffic

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-gateway/sluice/unit"
)

// Member says what an upstream that is a part of another one gets of its requests.
type Member struct {
	Priority int        `default:"0" min:"0" max:"15" doc:"Its level: the lowest one that has room and health gets the requests, what is left goes to the next."`
	Weight   int        `default:"1" min:"1" max:"1000" doc:"Its part of the requests, relative to the other members of its level."`
	Capacity *Capacity  `doc:"How much it can bear; what is more goes to other members; absent: as much as comes."`
	Spill    unit.Share `default:"100%" doc:"The share of the requests of the last 10s, of all members together, that it gets at most; what is more is refused. It is for members that others spill to, beyond the first level."`
}

// Capacity is how much a member can bear: a rate, a number of requests at one time, or both.
type Capacity struct {
	Requests    int           `min:"1" max:"1000000" doc:"How many requests it gets in the time of per; absent: any number."`
	Per         unit.Duration `default:"1s" min:"10ms" max:"1h" doc:"The time in which requests are counted."`
	Burst       int           `min:"1" max:"1000000" doc:"How many requests it gets at once after a rest; absent: a tenth of requests."`
	Concurrency int           `min:"1" max:"1000000" doc:"How many of its requests may wait for the head of their answer at one time; absent: any number."`
	Resume      unit.Share    `default:"90%" doc:"When it was full, it gets requests again once no more than this share of its capacity is used: of burst, of concurrency. So it does not change with each request."`
}

// Validate is called by the decoder.
func (c *Capacity) Validate() error {
	if c.Requests == 0 && c.Concurrency == 0 {
		return errors.New("a capacity without a number is none: give requests, such as { requests: 500, per: 1s }, or concurrency")
	}
	if c.Requests == 0 && c.Burst > 0 {
		return unit.At("burst", errors.New("burst belongs to requests, which are not given"))
	}
	return nil
}

// BurstOrDefault is the burst, given or not.
func (c *Capacity) BurstOrDefault() int {
	if c.Burst > 0 {
		return c.Burst
	}
	return max(c.Requests/10, 1)
}

// Failover says when a member is left because it is ill, and how it comes back.
type Failover struct {
	MinimumWell     unit.Share    `default:"50%" doc:"The share of its endpoints, by weight, that must be well; with fewer, or while its breaker is open, it is left."`
	Consecutive     int           `default:"5" min:"0" max:"10000" doc:"Failures in a row after which it is left: it was not reached, did not answer, or with a status from 500 to 599; 0: that does not count."`
	FailureShare    unit.Share    `default:"50%" doc:"The share of failures in window at which it is left; 0%: that does not count."`
	Window          unit.Duration `default:"10s" min:"1s" max:"1h" doc:"The time over which failures are counted."`
	MinimumRequests int           `default:"20" min:"1" max:"1000000" doc:"The requests in window below which their share says nothing."`
	ReturnAfter     unit.Duration `default:"10s" min:"10ms" max:"1d" doc:"How long it must have been well before it comes back; twice as long each time that it fails while it does."`
	MaxReturnAfter  unit.Duration `default:"5m" min:"10ms" max:"1d" doc:"The longest that it must have been well."`
	Ramp            unit.Duration `default:"30s" max:"1h" doc:"In what time its share grows from a tenth to the whole when it comes back; 0s: at once."`
}

// Validate is called by the decoder.
func (f *Failover) Validate() error {
	if f.MaxReturnAfter < f.ReturnAfter {
		return unit.Problem("max_return_after", fmt.Sprintf("the longest time, %s, is shorter than the first one, %s of return_after: make it longer", f.MaxReturnAfter, f.ReturnAfter))
	}
	return nil
}

// CheckMembers says what is wrong with members, taken together; at returns one and its name.
func CheckMembers(n int, at func(i int) (name string, m *Member)) error {
	first := map[string]int{}
	lowest := 0
	for i := range n {
		if _, m := at(i); i == 0 || m.Priority < lowest {
			lowest = m.Priority
		}
	}
	var errs []error
	for i := range n {
		name, m := at(i)
		place := fmt.Sprintf("members[%d]", i)
		if k, twice := first[name]; twice {
			errs = append(errs, unit.At(place+".upstream", fmt.Errorf("%s is a member already, as entry %d: a weight makes it get more", name, k+1)))
		} else {
			first[name] = i
		}
		switch {
		case m.Spill == 0:
			errs = append(errs, unit.At(place+".spill", errors.New("with 0% nothing ever comes here: leave the member out, or give it a share")))
		case m.Spill < unit.Whole && m.Priority == lowest:
			errs = append(errs, unit.At(place+".spill", errors.New("nothing spills to the first level, it gets the requests: use capacity, or give the member a later priority")))
		}
	}
	return errors.Join(errs...)
}

// CheckKeys says which keys of an upstream stand beside members and have no meaning there, or
// the other way round. keys returns those that are written in the mapping under a key, or at
// the top for "".
func CheckKeys(keys func(under string) []string) error {
	top := keys("")
	if !slices.Contains(top, "members") {
		if slices.Contains(top, "failover") {
			return unit.At("failover", errors.New("failover says when members are left, and there are none: endpoints have health, ejection and breaker"))
		}
		return nil
	}
	var errs []error
	for _, key := range top {
		switch key {
		case "name", "members", "failover", "timeouts":
		default:
			errs = append(errs, unit.At(key, fmt.Errorf("an upstream with members has no %s: its members have their own", key)))
		}
	}
	for _, key := range keys("timeouts") {
		if key != "request" && key != "deadline_header" {
			errs = append(errs, unit.At("timeouts."+key, errors.New("an upstream with members has only timeouts.request and timeouts.deadline_header: its members have the others")))
		}
	}
	return errors.Join(errs...)
}
