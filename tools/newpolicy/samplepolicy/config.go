package samplepolicy

// Config is what stands behind `sample_policy`.
type Config struct {
	Header string `yaml:"header" required:"true" doc:"The field that a request must have."`
}
