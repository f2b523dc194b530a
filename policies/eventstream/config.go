package eventstream

import "github.com/sluice-gateway/sluice/unit"

// Config is what stands behind `event_stream`.
type Config struct {
	KeepAlive unit.Duration `yaml:"keep_alive" default:"15s" min:"10ms" max:"1h" doc:"How long an origin may be silent before a comment is sent in its place."`
}
