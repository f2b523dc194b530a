package split

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `split`: a list of arms, or a mapping with a key.
type Config struct {
	Key  string
	Arms []Arm
	// list says that the arms were written as a list, without a mapping around it.
	list bool
}

// keyed is the long form.
type keyed struct {
	Key  string `yaml:"key" max:"1024" doc:"A template, such as {consumer.name} or {request.cookie.uid}: requests for which it has the same value go to the same upstream. Where it is absent, and for requests where its variables have no value, the choice is random."`
	Arms []Arm  `yaml:"arms" required:"true" doc:"The upstreams."`
}

// Arm is one upstream, its share, and who goes there in any case.
type Arm struct {
	Upstream string `yaml:"upstream" required:"true" doc:"The name of an upstream."`
	Weight   *int   `yaml:"weight" min:"0" max:"1000000" doc:"Its share of the requests that no condition takes, in relation to the sum of all weights. 0 sends it none of them. Only an entry with when may leave it out, which is 0."`
	When     *When  `yaml:"when" doc:"Requests that go here whatever the weights are: those for which all that stands here is true. Entries are tried in their order."`
}

// When is what a request must have.
type When struct {
	Header unit.Map[unit.List[string]] `yaml:"header" max:"16" doc:"Header fields and their values, exactly; of several values one must be there."`
	Cookie unit.Map[unit.List[string]] `yaml:"cookie" max:"16" doc:"Cookies and their values, exactly; of several values one must be there."`
	Group  unit.List[string]           `yaml:"group" max:"32" doc:"A group of consumers; of several the caller must be in one."`
}

// Alternatives are the shapes of a split.
func (*Config) Alternatives() []any { return []any{[]Arm{}, keyed{}} }

// DecodeSetting reads either shape.
func (c *Config) DecodeSetting(n unit.Node) error {
	if n.Kind() != unit.Mapping {
		c.list = true
		return n.Decode(&c.Arms)
	}
	var form keyed
	err := n.Decode(&form)
	c.Key, c.Arms = form.Key, form.Arms
	return err
}

// place is the path of an arm, as the configuration was written.
func (c *Config) place(i int) string {
	if c.list {
		return fmt.Sprintf("[%d]", i)
	}
	return fmt.Sprintf("arms[%d]", i)
}

// Validate is called once the settings are filled.
func (a *Arm) Validate() error {
	if a.Weight == nil && a.When == nil {
		return errors.New(`"weight" is missing here: write its share of the requests, or when to say which ones come here`)
	}
	return nil
}

// weight is 0 where none is written.
func (a *Arm) weight() int {
	if a.Weight == nil {
		return 0
	}
	return *a.Weight
}

// MaxValues is how many values one header field or cookie of a condition may have.
const MaxValues = 32

// Validate is called once the settings are filled. A condition that can never be
// true is a mistake that nobody would see.
func (w *When) Validate() error {
	if len(w.Header) == 0 && len(w.Cookie) == 0 && len(w.Group) == 0 {
		return errors.New("a condition without header, cookie or group takes every request: name what the request must have, or write a weight alone")
	}
	var errs []error
	for _, h := range w.Header {
		errs = append(errs, unit.At("header."+h.Key, checkHeader(h.Key, h.Value)))
	}
	for _, c := range w.Cookie {
		errs = append(errs, unit.At("cookie."+c.Key, checkCookie(c.Key, c.Value)))
	}
	for i, name := range w.Group {
		if name == "" {
			errs = append(errs, unit.Problem(fmt.Sprintf("group[%d]", i), "a group has a name"))
		}
	}
	return errors.Join(errs...)
}

func checkHeader(name string, values unit.List[string]) error {
	switch {
	case !message.ValidName(name):
		return fmt.Errorf("%q is not the name of a header field: write one such as x-canary", name)
	case message.EqualFold(name, "Host"):
		return errors.New("the host is not compared here: write host in the match of the route")
	case message.EqualFold(name, message.ConsumerNameHeader), message.EqualFold(name, message.ConsumerGroupsHeader):
		return fmt.Errorf("no request comes with %s, the gateway itself writes it for origins: write group", name)
	}
	for _, v := range values {
		if !message.ValidValue(v) || message.TrimOWS(v) != v {
			return fmt.Errorf("%q cannot be the value of a header field: leave out control characters, and white space at the ends", v)
		}
	}
	return checkNumber(values)
}

func checkCookie(name string, values unit.List[string]) error {
	if !message.ValidName(name) {
		return fmt.Errorf("%q is not the name of a cookie: write one such as canary", name)
	}
	for _, v := range values {
		if !message.ValidValue(v) || message.TrimOWS(v) != v || strings.Contains(v, ";") {
			return fmt.Errorf("%q cannot be the value of a cookie: leave out control characters, semicolons, and white space at the ends", v)
		}
	}
	return checkNumber(values)
}

func checkNumber(values unit.List[string]) error {
	if len(values) == 0 {
		return errors.New("a value is missing: write the one that the request must have")
	}
	if len(values) > MaxValues {
		return fmt.Errorf("%d values; the limit is %d", len(values), MaxValues)
	}
	return nil
}
