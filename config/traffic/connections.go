package traffic

import (
	"strings"

	"github.com/sluice-gateway/sluice/internal/reserved"
	"github.com/sluice-gateway/sluice/unit"
)

// Timeouts bound how long an origin can hold an exchange.
type Timeouts struct {
	Connect        unit.Duration `default:"1s" min:"1ms" max:"1h" doc:"The time to open a connection."`
	Try            unit.Duration `default:"0s" max:"1d" doc:"The time for one try, from its beginning to the head of its answer; then another endpoint may be asked. 0s: no other than the others here."`
	Request        unit.Duration `default:"0s" max:"1d" doc:"The time for the whole request, all tries and the answer's last byte included; 0s: no such time."`
	Response       unit.Duration `default:"15s" min:"1ms" max:"1d" doc:"The longest wait for the head of the answer."`
	Body           unit.Duration `default:"5m" min:"1ms" max:"1d" doc:"The longest silence within a body or a tunnel."`
	DeadlineHeader string        `pattern:"^[A-Za-z][A-Za-z0-9-]{0,63}$" form:"the name of a field: letters, digits and hyphens, a letter first, at most 64 long" doc:"A field with which clients say how many milliseconds they wait, such as X-Request-Timeout-Ms: then work ends, and the origin is told in the same field what is left. gRPC has a field of its own, which is always heeded."`
	Idle           unit.Duration `default:"60s" min:"1ms" max:"1d" doc:"How long an unused connection is kept."`
}

// Validate is called by the decoder.
func (t *Timeouts) Validate() error {
	if why := reserved.Why(t.DeadlineHeader); why != "" {
		return unit.Problem("deadline_header", t.DeadlineHeader+" cannot tell how long a client waits: "+why)
	}
	if strings.EqualFold(t.DeadlineHeader, "grpc-timeout") {
		return unit.Problem("deadline_header", t.DeadlineHeader+" is heeded in any case, and does not count milliseconds: leave it out")
	}
	return nil
}

// Connections bound the pool of connections to each endpoint.
type Connections struct {
	Max  int `default:"512" min:"1" max:"1000000" doc:"The connections to one endpoint at once."`
	Idle int `default:"128" min:"0" max:"1000000" doc:"The unused connections that are kept for one endpoint."`
}
