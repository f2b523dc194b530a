package rewrite

import "github.com/sluice-gateway/sluice/unit"

// Config is what stands behind `rewrite`.
type Config struct {
	Path        string `yaml:"path" doc:"The new path, a template: /v2/orders/{path.id}. Not together with strip_prefix, add_prefix or regex."`
	StripPrefix string `yaml:"strip_prefix" doc:"Whole segments to take off the beginning of the path; a path that does not begin with them stays."`
	AddPrefix   string `yaml:"add_prefix" doc:"What to put before the path, after strip_prefix; a template."`
	Regex       *Regex `yaml:"regex" doc:"Replaces what matches a regular expression in the path. Not together with path, strip_prefix or add_prefix."`
	Host        string `yaml:"host" doc:"The host, with a port if one is needed, that the origin is asked for; a template."`
	Query       Query  `yaml:"query" doc:"What changes in the query."`
}

// Regex replaces parts of a path.
type Regex struct {
	Match   unit.Regexp `yaml:"match" required:"true" doc:"A regular expression (RE2) over the normalised path."`
	Replace string      `yaml:"replace" doc:"What stands in the place of every match; $1 or ${name} is a group, $$ a dollar sign."`
}

// Query is what changes in a query.
type Query struct {
	Remove unit.List[string] `yaml:"remove" doc:"Names of parameters to remove."`
	Set    unit.Map[string]  `yaml:"set" doc:"Parameters that have exactly this value afterwards. The value is a template; one whose variables are all empty removes the parameter."`
}
