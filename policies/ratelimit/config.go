package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `rate_limit`.
type Config struct {
	Requests   int64         `yaml:"requests" min:"1" max:"1000000000" doc:"How many requests a caller may make in the time of per."`
	Per        unit.Duration `yaml:"per" min:"10ms" max:"366d" doc:"The time in which requests are counted, such as 1s, 1m or 1h."`
	Burst      int64         `yaml:"burst" min:"1" max:"1000000000" doc:"How many requests may come at once after a rest. Where it is absent, as many as requests."`
	Name       string        `yaml:"name" doc:"The name of the limit in the answer's fields and in the problem. Where it is absent, \"default\"; with windows, the per of each."`
	Windows    []Window      `yaml:"windows" max:"4" doc:"Several limits that must all allow a request, in place of requests, per, burst and name. A request that one of them refuses counts for none."`
	Key        Key           `yaml:"key" default:"address" doc:"Who is counted together: address (of the client), consumer (by address where nobody is known), route (everybody on a route), all (everybody who meets this policy), or header: NAME (callers with the same value; by address where there is none)."`
	IPv6Prefix int           `yaml:"ipv6_prefix" default:"64" min:"16" max:"128" doc:"How many leading bits of an IPv6 address make one caller. A single customer usually has a whole /64, and may have a /56 or /48."`
	MaxKeys    int           `yaml:"max_keys" default:"100000" min:"1000" max:"100000000" doc:"How many callers are remembered, approximately. When they are more, those are forgotten first that have used least of their limit."`
	Headers    bool          `yaml:"headers" default:"true" doc:"Tell clients their limit, what is left of it, and when to come back, in the fields RateLimit-Policy and RateLimit. Retry-After is always sent with a refusal."`
	DryRun     bool          `yaml:"dry_run" default:"false" doc:"Refuse nothing and send no fields, but count what would have been refused."`
}

// Window is one limit of several.
type Window struct {
	Requests int64         `yaml:"requests" required:"true" min:"1" max:"1000000000" doc:"How many requests a caller may make in the time of per."`
	Per      unit.Duration `yaml:"per" required:"true" min:"10ms" max:"366d" doc:"The time in which requests are counted."`
	Burst    int64         `yaml:"burst" min:"1" max:"1000000000" doc:"How many requests may come at once after a rest. Where it is absent, as many as requests."`
	Name     string        `yaml:"name" doc:"The name of the limit. Where it is absent, it is the per."`
}

// Key says who is counted together: a word, or the name of a field.
type Key struct {
	by     by
	Header string `yaml:"header" doc:"The field whose value tells callers apart. Only one that clients cannot choose freely, such as one that a policy before this one sets, limits anybody."`
}

// by is the way in which callers are told apart.
type by uint8

const (
	byHeader by = iota // the zero value, because the long form of Key is a header
	byAddress
	byConsumer
	byRoute
	byAll
)

func (b by) String() string {
	return [...]string{"header", "address", "consumer", "route", "all"}[b]
}

// Form says how a key is written as one word.
func (Key) Form() unit.Form {
	return unit.Form{Name: "key", Is: "address, consumer, route or all", Pattern: "^(address|consumer|route|all)$"}
}

// UnmarshalText reads the short form.
func (k *Key) UnmarshalText(text []byte) error {
	for b := byAddress; b <= byAll; b++ {
		if b.String() == string(text) {
			k.by = b
			return nil
		}
	}
	return fmt.Errorf("%q is not a key: write address, consumer, route, all, or { header: NAME }", text)
}

// MarshalText is the short form.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.by.String()), nil }

// Validate is called once the key is filled.
func (k *Key) Validate() error {
	if k.by == byHeader && !message.ValidName(k.Header) {
		return unit.Problem("header", fmt.Sprintf("%q is not the name of a field: write { header: X-Tenant }, or one of address, consumer, route, all", k.Header))
	}
	return nil
}

// Validate is called once the settings are filled.
func (c *Config) Validate() error {
	if len(c.Windows) > 0 && (c.Requests != 0 || c.Per != 0 || c.Burst != 0 || c.Name != "") {
		return unit.Problem("windows", "windows stands in place of requests, per, burst and name: move them into a window")
	}
	if len(c.Windows) == 0 && (c.Requests == 0 || c.Per == 0) {
		return errors.New("a limit needs requests and per: write { requests: 100, per: 1m }, or windows with several of them")
	}
	_, err := c.limits()
	return err
}

// limits are the windows in the form in which they are counted.
func (c *Config) limits() ([]limit, error) {
	if len(c.Windows) == 0 {
		name := c.Name
		if name == "" {
			name = "default"
		}
		l, err := newLimit(name, c.Requests, c.Per, c.Burst)
		return []limit{l}, err
	}
	if len(c.Windows) > maxWindows {
		return nil, unit.Problem("windows", fmt.Sprintf("there are no more than %d windows", maxWindows))
	}
	var all []limit
	for i, w := range c.Windows {
		name := w.Name
		if name == "" {
			name = w.Per.String()
		}
		l, err := newLimit(name, w.Requests, w.Per, w.Burst)
		path := fmt.Sprintf("windows[%d]", i)
		if err != nil {
			return nil, unit.At(path, err)
		}
		if slices.ContainsFunc(all, func(o limit) bool { return o.name == name }) {
			return nil, unit.Problem(path, fmt.Sprintf("two windows have the name %q: give one of them another name", name))
		}
		all = append(all, l)
	}
	return all, nil
}

// limit is one window, ready to count with: see cells.
type limit struct {
	name string
	// quota and burst are numbers of requests, per is in nanoseconds.
	quota, burst, per int64
	// interval is the time that one request is worth, in nanoseconds, rounded up, so that
	// never more than quota are let through in per in the long run; tolerance is what a
	// whole burst is worth, and a thousandth of an interval so that rounding and
	// the jitter of a client that keeps exactly to the limit do not refuse it.
	interval, tolerance int64
}

// minInterval keeps the error of rounding the interval to a nanosecond below a
// thousandth.
const minInterval = int64(time.Microsecond)

func newLimit(name string, requests int64, per unit.Duration, burst int64) (limit, error) {
	if burst == 0 {
		burst = requests
	}
	l := limit{name: name, quota: requests, burst: burst, per: int64(per)}
	l.interval = (l.per + requests - 1) / requests
	if l.per/requests < minInterval {
		return l, fmt.Errorf("%d requests in %s are more than can be counted: the limit is 1000000 a second", requests, per)
	}
	if l.interval > math.MaxInt64/4/burst {
		return l, fmt.Errorf("a burst of %d would take centuries to come back: write a smaller burst, or more requests", burst)
	}
	l.tolerance = l.interval*burst + l.interval/1024
	if !isSimple(name) {
		return l, fmt.Errorf("the name %q has characters other than letters, digits, dot, colon, hyphen and underscore", name)
	}
	return l, nil
}

// isSimple says whether a name can stand in a quoted string (RFC 9651 §3.3.3)
// without escapes, and in a metric's label without surprise.
func isSimple(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 || !strings.ContainsRune("-_.:", rune(c)) && !('a' <= c|0x20 && c|0x20 <= 'z') && !('0' <= c && c <= '9') {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}
