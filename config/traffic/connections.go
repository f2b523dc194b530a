package traffic

import "github.com/sluice-gateway/sluice/unit"

// Timeouts bound how long an origin can hold an exchange.
type Timeouts struct {
	Connect  unit.Duration `default:"1s" min:"1ms" max:"1h" doc:"The time to open a connection."`
	Response unit.Duration `default:"15s" min:"1ms" max:"1d" doc:"The longest wait for the head of the answer."`
	Body     unit.Duration `default:"5m" min:"1ms" max:"1d" doc:"The longest silence within a body or a tunnel."`
	Idle     unit.Duration `default:"60s" min:"1ms" max:"1d" doc:"How long an unused connection is kept."`
}

// Connections bound the pool of connections to each endpoint.
type Connections struct {
	Max  int `default:"512" min:"1" max:"1000000" doc:"The connections to one endpoint at once."`
	Idle int `default:"128" min:"0" max:"1000000" doc:"The unused connections that are kept for one endpoint."`
}
