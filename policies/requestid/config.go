package requestid

// Config is what stands behind `request_id`.
type Config struct {
	Header string `yaml:"header" default:"X-Request-Id" doc:"The field that carries the id, to the origin and back to the client."`
	Accept bool   `yaml:"accept" default:"false" doc:"Keep the id that a request brings along, if it is well-formed. Only where all clients are trusted: a client that chooses its id can make two requests look like one."`
	Answer bool   `yaml:"answer" default:"true" doc:"Send the id to the client."`
}
