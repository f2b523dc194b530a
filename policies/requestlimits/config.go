package requestlimits

import "github.com/sluice-gateway/sluice/unit"

// Config is what stands behind `request_limits`.
type Config struct {
	Body         unit.Size `yaml:"body" default:"10MiB" doc:"The longest body; 0B lets none in."`
	Header       unit.Size `yaml:"header" default:"16KiB" min:"1B" doc:"The size of all header fields together: their names, their values and 4 bytes each."`
	HeaderFields int       `yaml:"header_fields" default:"100" min:"1" doc:"The number of header fields."`
	Target       unit.Size `yaml:"target" default:"8KiB" min:"1B" doc:"The length of path and query as the client sent them."`
	Query        unit.Size `yaml:"query" default:"8KiB" min:"0B" doc:"The length of the query; 0B lets none in."`
	PathSegments int       `yaml:"path_segments" default:"64" min:"1" doc:"How deep a path may be: the number of its slashes."`
}
