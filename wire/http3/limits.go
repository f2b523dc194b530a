package http3

import (
	"time"

	"github.com/quic-go/quic-go"
)

// Limits bound what one client connection may cost. The zero value of a field
// means its default, except where it says otherwise.
type Limits struct {
	Streams      int // requests at once; QUIC lets a client open no more; default 128
	Requests     int // in all, before a GOAWAY asks the client to open another connection; 0 is no limit
	HeaderBytes  int // of a whole head as RFC 9114 §4.2.2 counts, answer 431; default 32 KiB
	HeaderFields int // number of fields, answer 431; default 100
	TrailerBytes int // of a trailer section; default 8 KiB
	Target       int // bytes of :path, answer 414; default 8 KiB

	StreamWindow     int // bytes of one body that may wait for us to take them; default 256 KiB
	ConnectionWindow int // the same for all bodies of a connection; default 1 MiB

	Floods          Floods
	MinimumBodyRate int64 // bytes a second, after a grace of BodyTimeout/2; 0 is no limit

	HandshakeTimeout time.Duration // silence of a client that has not finished its handshake; default 5s
	HeadTimeout      time.Duration // from a stream's first byte to the end of the head; default 10s
	IdleTimeout      time.Duration // without a request; default 60s
	BodyTimeout      time.Duration // longest silence within a request body; default 30s
	WriteTimeout     time.Duration // longest wait for a client to take 16 KiB of an answer; default 30s
	DrainTimeout     time.Duration // at most, between the two steps of a GOAWAY; default 1s
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Streams, 128)
	setDefault(&l.HeaderBytes, 32<<10)
	setDefault(&l.HeaderFields, 100)
	setDefault(&l.TrailerBytes, 8<<10)
	setDefault(&l.Target, 8<<10)
	setDefault(&l.StreamWindow, 256<<10)
	setDefault(&l.ConnectionWindow, 1<<20)
	setDefault(&l.HandshakeTimeout, 5*time.Second)
	setDefault(&l.HeadTimeout, 10*time.Second)
	setDefault(&l.IdleTimeout, 60*time.Second)
	setDefault(&l.BodyTimeout, 30*time.Second)
	setDefault(&l.WriteTimeout, 30*time.Second)
	setDefault(&l.DrainTimeout, time.Second)
	l.Floods = l.Floods.withDefaults()
	return l
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

const (
	// uniStreams is how many unidirectional streams a client may have open: the control stream, two of
	// QPACK, and a few that nobody knows (RFC 9114 §6.2 wants three at least).
	uniStreams = 8
	// silence is how long nothing at all may come from a client, not even an acknowledgement, before it
	// counts as gone; it is asked, with a PING, after half of that.
	silence = 30 * time.Second
)

// quicConfig is what QUIC itself enforces.
func (l *Limits) quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           l.HandshakeTimeout,
		MaxIdleTimeout:                 silence,
		KeepAlivePeriod:                silence / 2,
		InitialStreamReceiveWindow:     min(64<<10, uint64(l.StreamWindow)),
		MaxStreamReceiveWindow:         uint64(l.StreamWindow),
		InitialConnectionReceiveWindow: min(256<<10, uint64(l.ConnectionWindow)),
		MaxConnectionReceiveWindow:     uint64(l.ConnectionWindow),
		MaxIncomingStreams:             int64(l.Streams),
		MaxIncomingUniStreams:          uniStreams,
		// A stream that a client has reset counts until its exchange has ended: resetting must not
		// make work cheaper.
		RequireStreamCreditRelease: true,
		Allow0RTT:                  true,
	}
}
