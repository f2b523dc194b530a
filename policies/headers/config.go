package headers

import "github.com/sluice-gateway/sluice/unit"

// Config is what stands behind `headers`.
type Config struct {
	Request  Changes `yaml:"request" doc:"What changes in the request that the origin gets."`
	Response Changes `yaml:"response" doc:"What changes in the answer that the client gets, be it the origin's or the gateway's own."`
}

// Changes are made in the order of the fields.
type Changes struct {
	Remove  unit.List[string]           `yaml:"remove" doc:"Names of fields to remove. A * at the end stands for any rest: X-Internal-*."`
	Set     unit.Map[string]            `yaml:"set" doc:"Fields that have exactly this value afterwards. The value is a template; one whose variables are all empty removes the field."`
	Default unit.Map[string]            `yaml:"default" doc:"Fields that get this value, a template, where they are absent."`
	Add     unit.Map[unit.List[string]] `yaml:"add" doc:"Values, templates, that are added behind those that are there."`
}

func (c *Changes) empty() bool {
	return len(c.Remove)+len(c.Set)+len(c.Default)+len(c.Add) == 0
}
