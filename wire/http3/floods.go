package http3

import (
	"github.com/sluice-gateway/sluice/internal/allowance"
	"github.com/sluice-gateway/sluice/internal/meter"
)

// Flood is a way to make work without asking for anything.
type Flood uint8

const (
	// FloodReset is requests that the client cancels unanswered, or makes us reset.
	FloodReset Flood = iota
	// FloodEmptyData is DATA frames without data.
	FloodEmptyData
	// FloodUnknown is frames of a kind that we do not know, and each KiB of their payload.
	FloodUnknown
	// FloodStreams is unidirectional streams of a kind that we do not know.
	FloodStreams
	// FloodControl is frames on the control stream, and instructions of QPACK.
	FloodControl
	// FloodStall is answers that the client does not take.
	FloodStall
	FloodKinds // their number
)

// floodNames are values of a metric's label.
var floodNames = [FloodKinds]string{"reset", "empty_data", "unknown", "streams", "control", "stall"}

func (f Flood) String() string { return floodNames[f] }

// Floods are the budgets of a connection: how many frames of a kind it may send at once. A budget
// fills again by one part in sixteen a second, and by what the connection does of use. One that
// has used it up is closed with H3_EXCESSIVE_LOAD. The zero value of a field means its default.
type Floods struct {
	Resets    int // default 200; half a reset comes back for each answered request
	EmptyData int // default 100
	Unknown   int // default 200; one comes back for each answered request
	Streams   int // default 50
	Control   int // default 500; two come back for each request
}

func (f Floods) withDefaults() Floods {
	setDefault(&f.Resets, 200)
	setDefault(&f.EmptyData, 100)
	setDefault(&f.Unknown, 200)
	setDefault(&f.Streams, 50)
	setDefault(&f.Control, 500)
	return f
}

// Counters count what was turned away. They may be shared by many connections.
type Counters struct {
	// Floods is the number of connections that were closed, and for FloodStall the number of
	// streams that were given up.
	Floods [FloodKinds]meter.Counter
	// Rejected is the number of requests that came after a GOAWAY, Reset of those that clients cancelled.
	Rejected meter.Counter
	Reset    meter.Counter
	// Malformed is the number of requests that were reset because they broke the rules, Errors of
	// connections.
	Malformed meter.Counter
	Errors    meter.Counter
	// Early is the number of requests that were served in early data (0-RTT).
	Early meter.Counter
}

// floods is what is left of the budgets. Guarded by the lock of the connection.
type floods struct{ allowance.Budgets[Flood] }

func (f *floods) init(limits *Floods, now int64) {
	f.Init(now, limits.Resets, limits.EmptyData, limits.Unknown, limits.Streams, limits.Control)
}
