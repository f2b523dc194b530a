// Package traffic has the settings of upstreams: how requests are spread over their
// endpoints, and what happens when those are slow, ill or overloaded. Package upstream
// does what they say.
package traffic

import "github.com/sluice-gateway/sluice/unit"

// Endpoint is one origin of an upstream, written as its URL or as a mapping.
type Endpoint struct {
	URL      unit.Origin `yaml:"url" required:"true" doc:"Its scheme, host and port, such as http://10.0.0.7:8080."`
	Weight   int         `default:"1" min:"1" max:"1000" doc:"Its part of the requests, relative to the other endpoints."`
	Zone     string      `pattern:"^[A-Za-z0-9._-]{0,63}$" form:"a zone: letters, digits, dots, hyphens and underscores, at most 63 of them" doc:"The zone in which it stands."`
	Priority int         `default:"0" min:"0" max:"15" doc:"Its level: 0 is used first, the next one takes over in proportion as a level loses health."`
}

// Form says how an endpoint is written.
func (Endpoint) Form() unit.Form { return unit.Origin{}.Form() }

// UnmarshalText reads the short form.
func (e *Endpoint) UnmarshalText(text []byte) error { return e.URL.UnmarshalText(text) }

// Zone says which endpoints are near.
type Zone struct {
	Name    string     `required:"true" pattern:"^[A-Za-z0-9._-]{1,63}$" form:"a zone: letters, digits, dots, hyphens and underscores, at most 63 of them" doc:"The zone in which the gateway stands, such as ${env:ZONE}."`
	Minimum unit.Share `default:"70%" doc:"The share of the zone's own endpoints that must be well for all requests to stay in it; with fewer, the others get their part."`
}
