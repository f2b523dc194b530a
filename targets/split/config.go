package split

// Config is what stands behind `split`.
type Config []Arm

// Arm is one upstream and its share.
type Arm struct {
	Upstream string `yaml:"upstream" required:"true" doc:"The name of an upstream."`
	Weight   int    `yaml:"weight" required:"true" min:"0" max:"1000000" doc:"Its share of the requests, in relation to the sum of all weights. 0 sends it none."`
}
