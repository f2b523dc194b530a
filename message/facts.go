package message

// Facts are what was learned about an exchange on its way.
type Facts struct {
	RequestID string
	// Consumer is who is calling, or nil: set by policies of the Identify stage.
	// It points to a value of the snapshot and is never changed.
	Consumer *Consumer
	// Params are the named parts of the path.
	Params Params
	// Route and Target are names, for logs, metrics and keys; set by the engine.
	Route string
	// Precedence is how much more important than others the route is: 2 with the priority 0, -1 with 3.
	// It is set by the engine.
	Precedence int8
	// Upstream and Endpoint are set by upstream.RoundTrip.
	Upstream string
	Endpoint string
	// UpstreamGroup is the upstream of which Upstream is a member, or "": the outermost, where
	// there are several.
	UpstreamGroup string
	// Tries is the number of times that an origin was asked.
	Tries int
	// Fallback names what was asked last in the place of a target that had failed, and
	// FallbackCause is why it had failed; "" where nothing did.
	Fallback      string
	FallbackCause string
}

// reset empties the facts. Params is large and mostly empty: it is emptied in
// place, not overwritten.
func (f *Facts) reset() {
	f.Params.Truncate(0)
	f.RequestID, f.Consumer, f.Route, f.Upstream, f.UpstreamGroup, f.Endpoint, f.Tries = "", nil, "", "", "", "", 0
	f.Fallback, f.FallbackCause, f.Precedence = "", "", 0
}

// Consumer is somebody whom the configuration knows.
type Consumer struct {
	Name   string
	Groups []string
	// GroupList is Groups joined by ",", ready to be sent.
	GroupList string
}

// Names under which the gateway tells an origin who is calling. They are removed
// from every request that comes in, in every spelling.
const (
	ConsumerNameHeader   = "X-Consumer-Name"
	ConsumerGroupsHeader = "X-Consumer-Groups"
)

// Param is one named part of a path.
type Param struct{ Name, Value string }

// MaxParams is how many named parts one path pattern may have.
const MaxParams = 16

// Params are the named parts of a path, in order.
type Params struct {
	list [MaxParams]Param
	n    int
}

// Add appends a part; what is past MaxParams is dropped (the compiler refuses such patterns).
func (p *Params) Add(name, value string) {
	if p.n < len(p.list) {
		p.list[p.n] = Param{name, value}
		p.n++
	}
}

// Get returns the value of a part, or "".
func (p *Params) Get(name string) string {
	for i := 0; i < p.n; i++ {
		if p.list[i].Name == name {
			return p.list[i].Value
		}
	}
	return ""
}

// Len is the number of parts.
func (p *Params) Len() int { return p.n }

// All is a view of the parts.
func (p *Params) All() []Param { return p.list[:p.n] }

// Truncate keeps the first n parts.
func (p *Params) Truncate(n int) {
	for i := n; i < p.n; i++ {
		p.list[i] = Param{}
	}
	p.n = n
}
