package fallback

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `fallback`.
type Config struct {
	target.Nested
	To      unit.List[target.Nested] `required:"true" min:"1" max:"8" doc:"What is asked when the target fails: a target, or a list of which each is asked when the one before has failed, too."`
	On      unit.List[Condition]     `default:"[connect_failure, reset, timeout, malformed, breaker_open, overloaded, no_endpoint, \"502\", \"503\", \"504\"]" max:"64" doc:"Which failures: connect_failure: no connection could be had; reset: it ended before the answer; timeout: of the upstream's timeouts; malformed: the answer is no HTTP or has too large a header; breaker_open; overloaded: limits on concurrency and connections; no_endpoint; a status such as \"503\", or 5xx; a gRPC status such as grpc:unavailable."`
	Methods unit.List[string]        `max:"20" pattern:"^[A-Z][A-Z-]{0,31}$" form:"a method in capital letters, at most 32 long" doc:"Methods that may be sent to another upstream although they are not idempotent and an origin may have seen the request, such as POST: the origins must know how to bear it."`
	Body    unit.Size                `default:"64KiB" max:"16MiB" doc:"A request's body of at most this length is read before it is sent, where another upstream may need it; a longer one is sent to an upstream once, and so is one of unknown length that is not all there yet."`
	Header  string                   `pattern:"^[A-Za-z][A-Za-z0-9-]{0,63}$" form:"the name of a field: letters, digits and hyphens, a letter first, at most 64 long" doc:"A field, such as X-Fallback, that tells the client who has answered in the target's place: the name of an upstream or the kind of a target. Absent: the client is not told."`
}

// defaultOn is what stands in the place of an absent `on`, for messages.
const defaultOn = "all failures of the upstream, and 502, 503 and 504"

// Condition is a word of `on`.
type Condition string

// condition is how it is written.
var condition = regexp.MustCompile(`^(` + strings.Join(words(), "|") + `|[45][0-9][0-9]|[45]xx|grpc:[a-z_]+)$`)

// Form says how it is written.
func (Condition) Form() unit.Form {
	return unit.Form{
		Name:    "condition",
		Is:      strings.Join(words(), ", ") + `, a status from "400" to "599" in quotes, 4xx, 5xx, or a gRPC status such as grpc:unavailable`,
		Pattern: condition.String(),
	}
}

// UnmarshalText reads it.
func (c *Condition) UnmarshalText(text []byte) error {
	if !condition.Match(text) {
		return fmt.Errorf("%q is not %s", text, c.Form().Is)
	}
	*c = Condition(text)
	return nil
}

func (c Condition) String() string { return string(c) }
