package http3

import (
	"bufio"
	"context"
	"io"

	"github.com/quic-go/quic-go"
)

// takeUniStreams takes the streams that carry no request, to the end of the connection; QUIC bounds
// their number.
func (c *serverConn) takeUniStreams() {
	for {
		qs, err := c.quic.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		go c.serveUni(qs)
	}
}

// critical is the bytes of a stream that lives as long as its connection.
type critical struct {
	conn *serverConn
	*bufio.Reader
}

// controlBuffer is the size of the buffer for such a stream; there are three for a connection.
const controlBuffer = 128

// serveUni serves a stream that carries no request (RFC 9114 §6.2).
func (c *serverConn) serveUni(qs *quic.ReceiveStream) {
	r := &critical{c, bufio.NewReaderSize(qs, controlBuffer)}
	kind, err := r.varint()
	if err != nil { // The stream may end before its kind is known (RFC 9114 §6.2).
		qs.CancelRead(quic.StreamErrorCode(NoError))
		qs.ReleaseStreamCredit()
		return
	}
	if kind > streamDecoder {
		// Of no kind that we know; it may be there so that nobody relies on our knowing all.
		qs.CancelRead(quic.StreamErrorCode(StreamCreationError))
		qs.ReleaseStreamCredit()
		c.spend(FloodStreams, 1)
		return
	}
	c.mu.Lock()
	again := c.seen[kind]
	c.seen[kind] = true
	c.mu.Unlock()
	var f *fault
	switch {
	case kind == streamPush:
		f = &fault{code: StreamCreationError, why: "a client cannot push"}
	case again:
		f = &fault{code: StreamCreationError, why: "a stream of this kind is there already"}
	case kind == streamControl:
		f, err = r.control()
	case kind == streamEncoder:
		f, err = r.encoder()
	default:
		f, err = r.decoder()
	}
	if f == nil && (err == io.EOF || err == io.ErrUnexpectedEOF || isReset(err)) {
		f = &fault{code: ClosedCriticalStream, why: "a stream ended that lives as long as the connection"}
	}
	if f != nil {
		c.fail(f)
	}
}

// varint reads an integer.
func (r *critical) varint() (uint64, error) {
	first, err := r.Peek(1)
	if err != nil {
		return 0, err
	}
	all, err := r.Peek(1 << (first[0] >> 6))
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	n, size := parseVarint(all)
	_, _ = r.Discard(size)
	return n, nil
}

// mostControl is how long a frame on the control stream may be that we read as a whole. Frames
// of a kind that we do not know may be longer, for their price.
const mostControl = 4 << 10

// control reads the frames of the control stream (RFC 9114 §7).
func (r *critical) control() (*fault, error) {
	for first := true; ; first = false {
		kind, err := r.varint()
		if err != nil {
			return nil, err
		}
		length, err := r.varint()
		if err != nil {
			return nil, err
		}
		switch {
		case first && kind != frameSettings:
			return &fault{code: MissingSettings, why: "the control stream does not begin with SETTINGS"}, nil
		case !first && kind == frameSettings:
			return &fault{code: FrameUnexpected, why: "SETTINGS are sent once"}, nil
		case kind == frameData || kind == frameHeaders || kind == framePushPromise || fromHTTP2(kind):
			return &fault{code: FrameUnexpected, why: "a frame that has no place on the control stream"}, nil
		}
		if !onControlOnly(kind) {
			if !r.conn.spend(FloodUnknown, pieces(length)) {
				return nil, nil
			}
			if err := r.skip(length); err != nil {
				return nil, err
			}
			continue
		}
		if length > mostControl {
			return &fault{code: ExcessiveLoad, why: "a frame on the control stream is too long"}, nil
		}
		if !first && !r.conn.spend(FloodControl, 1) {
			return nil, nil
		}
		payload := make([]byte, length) // These are few: their number is bounded.
		if _, err := io.ReadFull(r, payload); err != nil {
			return nil, err
		}
		if f := r.conn.onControl(kind, payload); f != nil {
			return f, nil
		}
	}
}

// pieces is the price of a payload that nobody wants.
func pieces(length uint64) int32 { return int32(min(length>>10, 1<<28)) + 1 }

// skip drops n bytes.
func (r *critical) skip(n uint64) error {
	for n > 0 {
		dropped, err := r.Discard(int(min(n, 1<<16)))
		if n -= uint64(dropped); err != nil {
			return err
		}
	}
	return nil
}

// onControl takes a frame of the control stream.
func (c *serverConn) onControl(kind uint64, payload []byte) *fault {
	if kind == frameSettings {
		return checkSettings(payload)
	}
	id, size := parseVarint(payload)
	if kind == framePriority || kind == framePriority+1 {
		// Priorities are not acted upon (RFC 9218 §10 leaves that open).
		if size == 0 {
			return &fault{code: FrameError, why: "PRIORITY_UPDATE names nothing"}
		}
		if kind != framePriority || id%4 != 0 { // There are no pushes (RFC 9218 §7.2).
			return &fault{code: IDError, why: "PRIORITY_UPDATE of something that is no request"}
		}
		return nil
	}
	if size == 0 || size != len(payload) {
		return &fault{code: FrameError, why: "a frame of the control stream does not hold one number"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch kind {
	case frameMaxPushID:
		if int64(id) < c.maxPush {
			return &fault{code: IDError, why: "MAX_PUSH_ID goes down"}
		}
		c.maxPush = int64(id)
	case frameGoAway:
		// It names a push; we make none, so there is nothing to do.
		if c.goneAway >= 0 && int64(id) > c.goneAway {
			return &fault{code: IDError, why: "the number of GOAWAY goes up"}
		}
		c.goneAway = int64(id)
	default: // CANCEL_PUSH: there is none to cancel (RFC 9114 §7.2.3).
		return &fault{code: IDError, why: "CANCEL_PUSH of a push that was never promised"}
	}
	return nil
}

// checkSettings looks at the settings of a client. None of them changes what we do: our encoder
// uses no table, and we push nothing.
func checkSettings(payload []byte) *fault {
	var seen [64]uint64 // More than that nobody sends.
	n := 0
	for len(payload) > 0 {
		id, size := parseVarint(payload)
		value, more := parseVarint(payload[size:])
		if size == 0 || more == 0 {
			return &fault{code: FrameError, why: "SETTINGS end within a setting"}
		}
		payload = payload[size+more:]
		switch {
		case id == 0 || id >= 2 && id <= 5: // Those of HTTP/2 (RFC 9114 §7.2.4.1).
			return &fault{code: SettingsError, why: "a setting of HTTP/2"}
		case id == settingConnect && value > 1:
			return &fault{code: SettingsError, why: "a setting is neither on nor off"}
		case n == len(seen):
			return &fault{code: ExcessiveLoad, why: "too many settings"}
		}
		for _, other := range seen[:n] {
			if other == id {
				return &fault{code: SettingsError, why: "a setting is given twice"}
			}
		}
		seen[n] = id
		n++
	}
	return nil
}

// encoder reads what the client's encoder says of its table, whose size has to be 0 (RFC 9204
// §4.3).
func (r *critical) encoder() (*fault, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b != 0x20 { // Set Dynamic Table Capacity 0.
			return &fault{code: EncoderStreamError, why: "a table is used that has no room"}, nil
		}
		if !r.conn.spend(FloodControl, 1) {
			return nil, nil
		}
	}
}

// decoder reads what the client's decoder says of what we sent. As we use no table, there is
// nothing to acknowledge (RFC 9204 §4.4).
func (r *critical) decoder() (*fault, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b&0xc0 != 0x40 {
			return &fault{code: DecoderStreamError, why: "something is acknowledged that was never sent"}, nil
		}
		more := b&0x3f == 0x3f
		for n := 0; more; n++ { // Stream Cancellation, with its number.
			if b, err = r.ReadByte(); err != nil {
				return nil, err
			}
			if more = b&0x80 != 0; more && n == 9 {
				return &fault{code: DecoderStreamError, why: "a number is too long"}, nil
			}
		}
		if !r.conn.spend(FloodControl, 1) {
			return nil, nil
		}
	}
}
