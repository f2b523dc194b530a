package redirect

// Config is what stands behind `redirect`.
type Config struct {
	To        string `yaml:"to" required:"true" doc:"Where to, a template: a path such as /new/{path.id}, or an http or https URL."`
	Status    int    `yaml:"status" default:"307" min:"301" max:"308" doc:"301, 302, 303, 307 or 308. Clients repeat 307 and 308 with the same method and body, may turn others into GET, and remember 301 and 308 for long."`
	KeepQuery bool   `yaml:"keep_query" default:"true" doc:"Carry the query of the request over, unless to has one of its own."`
}
