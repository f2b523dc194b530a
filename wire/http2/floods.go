package http2

import (
	"github.com/sluice-gateway/sluice/internal/allowance"
	"github.com/sluice-gateway/sluice/internal/meter"
)

// Flood is a way to make work without asking for anything.
type Flood uint8

const (
	// FloodReset is streams that the peer resets unanswered, makes us reset, or opens past the limit.
	FloodReset Flood = iota
	// FloodContinuation is a head in too many frames, or with too many bytes.
	FloodContinuation
	// FloodEmptyData is DATA frames without data that do not end their stream.
	FloodEmptyData
	FloodPing
	FloodSettings
	FloodPriority
	FloodWindowUpdate
	// FloodUnknown is frames of a kind that we do not know, and those on streams that
	// have ended.
	FloodUnknown
	// FloodQueue is answers to control frames that the peer does not read.
	FloodQueue
	// FloodStall is windows that stay closed for longer than the write timeout.
	FloodStall
	FloodKinds // their number
)

// floodNames are values of a metric's label.
var floodNames = [FloodKinds]string{
	"reset", "continuation", "empty_data", "ping", "settings", "priority", "window_update", "unknown", "queue", "stall",
}

func (f Flood) String() string { return floodNames[f] }

// Floods are the budgets of a connection: how many frames of a kind it may send at once. A budget
// fills again by one part in sixteen a second, and by what the connection does of use. One that
// has used it up is closed with ENHANCE_YOUR_CALM. The zero value of a field means its default.
type Floods struct {
	Resets        int // default 200; half a reset comes back for each answered stream
	EmptyData     int // default 100
	Pings         int // default 100; one comes back for each DATA frame, in either direction
	Settings      int // default 50
	Priorities    int // default 500; two come back for each new stream
	WindowUpdates int // default 1000, besides two and one a KiB for each DATA frame that we sent
	Unknown       int // default 200; of an origin one comes back for each answer
	Queue         int // control frames that wait to be written; default 1000
}

func (f Floods) withDefaults() Floods {
	setDefault(&f.Resets, 200)
	setDefault(&f.EmptyData, 100)
	setDefault(&f.Pings, 100)
	setDefault(&f.Settings, 50)
	setDefault(&f.Priorities, 500)
	setDefault(&f.WindowUpdates, 1000)
	setDefault(&f.Unknown, 200)
	setDefault(&f.Queue, 1000)
	return f
}

// Counters count what was turned away. They may be shared by many connections.
type Counters struct {
	// Floods is the number of connections that were closed, and for FloodStall the number of
	// streams that were given up.
	Floods [FloodKinds]meter.Counter
	// Refused is the number of streams above the limit; Reset of those that the peer reset.
	Refused meter.Counter
	Reset   meter.Counter
	// Malformed is the number of streams that were reset because they broke the rules, Errors of
	// connections.
	Malformed meter.Counter
	Errors    meter.Counter
}

// floods is what is left of the budgets. Guarded by the lock of the link.
type floods struct {
	allowance.Budgets[Flood]
	late, reads int32 // frames that our resets, and our DATA, make a peer send
}

const lateFrames, mostLate = 64, 1 << 16

// expectLate pays for what a peer had under way when we reset a stream: no flood (RFC 9113 §5.1).
func (f *floods) expectLate() { f.late = min(f.late+lateFrames, mostLate) }

func (f *floods) init(limits *Floods, now int64) {
	f.Init(now, limits.Resets, 0, limits.EmptyData, limits.Pings, limits.Settings, limits.Priorities, limits.WindowUpdates, limits.Unknown)
}

// expectReads pays for the window that peers give back, late, for each few KiB of DATA, twice.
func (f *floods) expectReads(n int) { f.reads = min(f.reads+2+int32(n>>10), mostLate<<4) }

// spend takes one from a budget and says whether there was one.
func (f *floods) spend(kind Flood) bool {
	if kind == FloodWindowUpdate && f.reads > 0 {
		f.reads--
		return true
	}
	return f.Spend(kind, 1, clock)
}
