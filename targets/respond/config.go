package respond

import "github.com/sluice-gateway/sluice/unit"

// Config is what stands behind `respond`.
type Config struct {
	Status  int              `yaml:"status" default:"200" min:"200" max:"599" doc:"The status of the answer."`
	Headers unit.Map[string] `yaml:"headers" doc:"Fields of the answer; values are templates. Content-Type has a default that fits the body."`
	Body    string           `yaml:"body" doc:"A text, sent as text/plain; a template in which braces around no variable stay as they are."`
	JSON    unit.Any         `yaml:"json" doc:"A value, sent as application/json; strings in it are templates like body."`
	File    string           `yaml:"file" doc:"A file of up to 1 MiB, relative to the main file; read when the configuration is and sent as it is, with a Content-Type that fits its name."`
}
