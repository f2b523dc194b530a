package http2

import "time"

// Limits bound what one client connection may cost. The zero value of a field
// means its default, except where it says otherwise.
type Limits struct {
	Streams       int // at once; more are refused with REFUSED_STREAM; default 128
	HeaderBytes   int // of a whole head as RFC 9113 §10.5.1 counts, answer 431; default 32 KiB
	HeaderFields  int // number of fields, answer 431; default 100
	TrailerBytes  int // of a trailer section; default 8 KiB
	Target        int // bytes of :path, answer 414; default 8 KiB
	Continuations int // CONTINUATION frames of one head; default 16
	Requests      int // per connection, which is drained behind the last; 0 is no limit

	FrameSize        int // longest payload that a client may send, 16 KiB to 1 MiB; default 16 KiB
	StreamWindow     int // bytes of one body that may wait for us to take them, at least 65,535; default 256 KiB
	ConnectionWindow int // the same for all bodies of a connection; default 1 MiB

	Floods          Floods
	MinimumBodyRate int64 // bytes a second, after a grace of BodyTimeout/2; 0 is no limit

	PrefaceTimeout time.Duration // from the start to the client's first SETTINGS; default 10s
	HeadTimeout    time.Duration // from the first byte of a head to its last; default 10s
	IdleTimeout    time.Duration // without a stream; default 60s
	BodyTimeout    time.Duration // longest silence within a request body; default 30s
	WriteTimeout   time.Duration // longest time without window, or without reading what was written; default 30s
	DrainTimeout   time.Duration // between the two steps of a GOAWAY; default 1s
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Streams, 128)
	setDefault(&l.HeaderBytes, 32<<10)
	setDefault(&l.HeaderFields, 100)
	setDefault(&l.TrailerBytes, 8<<10)
	setDefault(&l.Target, 8<<10)
	setDefault(&l.Continuations, 16)
	setDefault(&l.FrameSize, frameSize)
	setDefault(&l.StreamWindow, 256<<10)
	setDefault(&l.ConnectionWindow, 1<<20)
	setDefault(&l.PrefaceTimeout, 10*time.Second)
	setDefault(&l.HeadTimeout, 10*time.Second)
	setDefault(&l.IdleTimeout, 60*time.Second)
	setDefault(&l.BodyTimeout, 30*time.Second)
	setDefault(&l.WriteTimeout, 30*time.Second)
	setDefault(&l.DrainTimeout, time.Second)
	l.Floods = l.Floods.withDefaults()
	return l
}

// ClientLimits bound what one origin connection may cost.
type ClientLimits struct {
	Streams       int // at once, if the origin allows as many; default 128
	HeaderBytes   int // of an answer's head; default 64 KiB
	HeaderFields  int // number of fields; default 200
	TrailerBytes  int // default as HeaderBytes: origins are told of one limit for both (RFC 9113 §6.5.2)
	Continuations int // CONTINUATION frames of one head; default 16

	FrameSize        int // longest payload that an origin may send; default 16 KiB
	StreamWindow     int // default 256 KiB
	ConnectionWindow int // default 1 MiB

	Floods Floods

	ResponseTimeout time.Duration // longest wait for the head of the answer; default 15s
	BodyTimeout     time.Duration // longest silence within a body, either way; default 5m
	HeadTimeout     time.Duration // from the first byte of a head to its last; default 10s
	Silence         time.Duration // of the origin, behind which a stream that is given up makes us send a PING; default 1s
	PingTimeout     time.Duration // longest wait for its answer; default 10s
}

// WithDefaults fills in what was left at zero.
func (l ClientLimits) WithDefaults() ClientLimits {
	setDefault(&l.Streams, 128)
	setDefault(&l.HeaderBytes, 64<<10)
	setDefault(&l.HeaderFields, 200)
	setDefault(&l.TrailerBytes, l.HeaderBytes)
	setDefault(&l.Continuations, 16)
	setDefault(&l.FrameSize, frameSize)
	setDefault(&l.StreamWindow, 256<<10)
	setDefault(&l.ConnectionWindow, 1<<20)
	setDefault(&l.ResponseTimeout, 15*time.Second)
	setDefault(&l.BodyTimeout, 5*time.Minute)
	setDefault(&l.HeadTimeout, 10*time.Second)
	setDefault(&l.Silence, time.Second)
	setDefault(&l.PingTimeout, 10*time.Second)
	l.Floods = l.Floods.withDefaults()
	return l
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// bounds are what both kinds of limits say of a connection.
type bounds struct {
	headerBytes, headerFields, trailerBytes, continuations int
	frameSize                                              int
	streamWindow, connectionWindow                         int64
	floods                                                 Floods
	preface, head, idle, body, write, ping                 time.Duration
}

func (l *Limits) bounds() bounds {
	return bounds{
		l.HeaderBytes, l.HeaderFields, l.TrailerBytes, l.Continuations, clampFrame(l.FrameSize),
		clampWindow(l.StreamWindow), clampWindow(l.ConnectionWindow), l.Floods,
		l.PrefaceTimeout, l.HeadTimeout, l.IdleTimeout, l.BodyTimeout, l.WriteTimeout, 0,
	}
}

func (l *ClientLimits) bounds() bounds {
	return bounds{
		l.HeaderBytes, l.HeaderFields, l.TrailerBytes, l.Continuations, clampFrame(l.FrameSize),
		clampWindow(l.StreamWindow), clampWindow(l.ConnectionWindow), l.Floods,
		l.ResponseTimeout, l.HeadTimeout, 0, l.BodyTimeout, l.BodyTimeout, l.PingTimeout,
	}
}

func clampFrame(n int) int { return min(max(n, frameSize), 1<<20) }

// clampWindow keeps windows at least as large as a peer takes them to be before it
// has read our settings.
func clampWindow(n int) int64 { return int64(min(max(n, firstWindow), maxWindow)) }
