package http2

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-gateway/sluice/internal/headerblock"
)

// frame makes one frame.
func frame(kind, flags uint8, id uint32, payload string) string {
	return string(append(appendFrameHeader(nil, len(payload), kind, flags, id), payload...))
}

// field makes one literal field that goes into no table, in whatever form is asked for.
func field(name, value string) string {
	return "\x00" + hpackString(name) + hpackString(value)
}

// indexedField makes one literal field that goes into the table.
func indexedField(name, value string) string {
	return "\x40" + hpackString(name) + hpackString(value)
}

func hpackString(s string) string {
	return string(headerblock.AppendInt(nil, 0, 7, uint64(len(s)))) + s
}

// fields makes a block of pairs.
func fields(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString(field(pairs[i], pairs[i+1]))
	}
	return b.String()
}

// pseudo is what a request must have.
func pseudo(method, path string) string {
	return fields(":method", method, ":scheme", "http", ":authority", "example.com", ":path", path)
}

const endBoth = flagEndStream | flagEndHeaders

// getFrame is a whole request.
func getFrame(id uint32, path string) string {
	return frame(frameHeaders, endBoth, id, pseudo("GET", path))
}

// postFrame is the head of a request whose body follows.
func postFrame(id uint32, path string, more ...string) string {
	return frame(frameHeaders, flagEndHeaders, id, pseudo("POST", path)+fields(more...))
}

func dataFrame(id uint32, end bool, data string) string {
	flags := uint8(0)
	if end {
		flags = flagEndStream
	}
	return frame(frameData, flags, id, data)
}

func settingFrame(pairs ...uint32) string {
	var out []byte
	for i := 0; i+1 < len(pairs); i += 2 {
		out = appendSetting(out, uint16(pairs[i]), pairs[i+1])
	}
	return frame(frameSettings, 0, 0, string(out))
}

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func windowFrame(id, n uint32) string   { return frame(frameWindowUpdate, 0, id, u32(n)) }
func resetFrame(id, code uint32) string { return frame(frameReset, 0, id, u32(code)) }

const (
	emptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	greeting      = preface + emptySettings
)

// rawPeer is the other end of a connection, frame by frame.
type rawPeer struct {
	t       testing.TB
	nc      net.Conn
	r       *bufio.Reader
	decoder *hpack.Decoder
	data    map[uint32]int // bytes of DATA by stream
	status  map[uint32]string
}

func dialRaw(t testing.TB, address string) *rawPeer {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return newRawPeer(t, nc)
}

func newRawPeer(t testing.TB, nc net.Conn) *rawPeer {
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(testPatience))
	return &rawPeer{t: t, nc: nc, r: bufio.NewReader(nc), decoder: hpack.NewDecoder(4096, nil), data: map[uint32]int{}, status: map[uint32]string{}}
}

func (p *rawPeer) send(parts ...string) *rawPeer {
	p.t.Helper()
	_, _ = io.WriteString(p.nc, strings.Join(parts, "")) // The other end may have had enough: what it says counts.
	return p
}

// rawFrame is what a rawPeer has read.
type rawFrame struct {
	frameHeader
	payload []byte
}

func (p *rawPeer) read() (f rawFrame, err error) {
	var head [frameHeaderLen]byte
	if _, err = io.ReadFull(p.r, head[:]); err != nil {
		return f, err
	}
	f.frameHeader = parseFrameHeader(head[:])
	f.payload = make([]byte, f.length)
	_, err = io.ReadFull(p.r, f.payload)
	return f, err
}

// next reads a frame and says what it is, in words that a table can hold: "reset 1 CANCEL",
// "goaway PROTOCOL_ERROR", "headers 1 200", "end 1", "ping x", "ack", "closed". Frames that say nothing of
// interest are "".
func (p *rawPeer) next() string {
	f, err := p.read()
	if err != nil {
		return "closed"
	}
	switch f.kind {
	case frameReset:
		return fmt.Sprintf("reset %d %v", f.id, ErrCode(binary.BigEndian.Uint32(f.payload)))
	case frameGoAway:
		return fmt.Sprintf("goaway %v", ErrCode(binary.BigEndian.Uint32(f.payload[4:])))
	case framePing:
		if f.flags&flagAck != 0 {
			return "ping " + string(f.payload)
		}
		return "asked " + string(f.payload)
	case frameSettings:
		if f.flags&flagAck != 0 {
			return "ack"
		}
	case frameHeaders:
		if f.flags&flagEndHeaders == 0 {
			p.t.Error("a head in several frames")
		}
		list, err := p.decoder.DecodeFull(f.payload)
		if err != nil || len(list) == 0 {
			p.t.Errorf("a head that cannot be decoded: %v", err)
			return "closed"
		}
		said := fmt.Sprintf("headers %d %s", f.id, list[0].Value)
		if list[0].Name != ":status" {
			said = fmt.Sprintf("trailers %d", f.id)
		} else {
			p.status[f.id] = list[0].Value
		}
		if f.flags&flagEndStream != 0 {
			said += " end"
		}
		return said
	case frameData:
		p.data[f.id] += f.length
		if f.flags&flagEndStream != 0 {
			return fmt.Sprintf("end %d", f.id)
		}
	}
	return ""
}

// until reads up to one of the alternatives, which are separated by "|", and returns it. What
// ends a connection or a stream and was not expected fails the test.
func (p *rawPeer) until(want string) string {
	p.t.Helper()
	alternatives := strings.Split(want, "|")
	var seen []string
	for {
		said := p.next()
		for _, a := range alternatives {
			if said == a || a != "" && strings.HasPrefix(said, a+" ") {
				return said
			}
		}
		if said != "" {
			seen = append(seen, said)
		}
		if said == "closed" || len(seen) > 2000 {
			p.t.Errorf("waited for %q, got %q", want, seen)
			return said
		}
	}
}

// alive sees that the connection works and that nothing was refused on it.
func (p *rawPeer) alive() {
	p.t.Helper()
	p.send(frame(framePing, 0, 0, "are you?"))
	for {
		switch said := p.next(); {
		case said == "ping are you?":
			return
		case said == "closed", strings.HasPrefix(said, "goaway"), strings.HasPrefix(said, "reset"):
			p.t.Errorf("got %q from a connection that should be alive", said)
			return
		}
	}
}
