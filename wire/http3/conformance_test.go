package http3

import (
	"strings"
	"testing"
)

const data = "\x00\x05hello"

// violations are what clients do on a request stream, and what they get.
var violations = []struct {
	rfc, name string
	sent      string // and the end of the stream
	want      string
}{
	// RFC 9114 §4.1: the order of frames.
	{"4.1", "a request", get("/"), "200"},
	{"4.1", "a request with a body", post("/") + data, "200"},
	{"4.1", "a body in two frames", post("/", "content-length: 10") + data + data, "200"},
	{"4.1", "trailers", post("/") + data + headers("x-sum: 1"), "200"},
	{"4.1", "nothing", "", "reset 0x10d"},
	{"4.1", "half a head", get("/")[:10], "closed 0x106"},
	{"4.1", "half a frame header", "\x01", "closed 0x106"},
	{"4.1", "DATA first", data + get("/"), "closed 0x105"},
	{"4.1", "DATA behind trailers", post("/") + data + headers("x: 1") + data, "closed 0x105"},
	{"4.1", "HEADERS behind trailers", post("/") + data + headers("x: 1") + headers("x: 1"), "closed 0x105"},
	{"4.1", "an unknown frame first", frame(0x21, "grease") + get("/"), "200"},
	{"4.1", "unknown frames everywhere", frame(0x21, "a") + post("/") + frame(0x40, "") + data + frame(0x21, strings.Repeat("a", 5000)) + headers("x: 1") + frame(0x21, ""), "200"},
	{"4.1.2", "half a body", post("/", "content-length: 5") + "\x00\x05hel", "closed 0x106"},
	{"4.1.2", "less than content-length", post("/", "content-length: 6") + data, "reset 0x10e"},
	{"4.1.2", "more than content-length", post("/", "content-length: 4") + data, "reset 0x10e"},
	{"4.1.2", "content-length and no body", post("/", "content-length: 4"), "reset 0x10e"},
	{"4.1.2", "content-length 0", post("/", "content-length: 0"), "200"},
	{"4.2", "an upper-case name", get("/", "X-Up: 1"), "reset 0x10e"},
	{"4.2", "connection", get("/", "connection: close"), "reset 0x10e"},
	{"4.2", "transfer-encoding", post("/", "transfer-encoding: chunked"), "reset 0x10e"},
	{"4.2", "keep-alive", get("/", "keep-alive: timeout=5"), "reset 0x10e"},
	{"4.2", "proxy-connection", get("/", "proxy-connection: close"), "reset 0x10e"},
	{"4.2", "upgrade", get("/", "upgrade: websocket"), "reset 0x10e"},
	{"4.2", "te", get("/", "te: gzip"), "reset 0x10e"},
	{"4.2", "te: trailers", get("/", "te: trailers"), "200"},
	{"4.2", "a line break in a value", get("/", "x: a\nb"), "reset 0x10e"},
	{"4.2", "NUL in a value", get("/", "x: a\x00b"), "reset 0x10e"},
	{"4.2", "a space at the end of a value", get("/", "x: a "), "reset 0x10e"},
	{"4.2", "a space in a name", get("/", "x y: a"), "reset 0x10e"},
	{"4.1.2", "content-length twice", post("/", "content-length: 5", "content-length: 5") + data, "reset 0x10e"},
	{"4.1.2", "content-length with a sign", post("/", "content-length: +5") + data, "reset 0x10e"},
	{"4.3", "no method", headers(":scheme: https", ":authority: a.example.com", ":path: /"), "reset 0x10e"},
	{"4.3", "a pseudo-field twice", get("/", ":path: /"), "reset 0x10e"},
	{"4.3", "an unknown pseudo-field", get("/", ":foo: bar"), "reset 0x10e"},
	{"4.3", "a pseudo-field behind a field", headers("x: y", ":method: GET", ":scheme: https", ":authority: a.example.com", ":path: /"), "reset 0x10e"},
	{"4.3", "a pseudo-field in trailers", post("/") + data + headers(":path: /"), "reset 0x10e"},
	{"4.3.1", "no path", headers(":method: GET", ":scheme: https", ":authority: a.example.com"), "reset 0x10e"},
	{"4.3.1", "no scheme", headers(":method: GET", ":authority: a.example.com", ":path: /"), "reset 0x10e"},
	{"4.3.1", "an empty path", get(""), "reset 0x10e"},
	{"4.3.1", "a path without a slash", get("x"), "reset 0x10e"},
	{"4.3.1", "an asterisk", get("*"), "reset 0x10e"},
	{"4.3.1", "OPTIONS of an asterisk", headers(":method: OPTIONS", ":scheme: https", ":authority: a.example.com", ":path: *"), "200"},
	{"4.3.1", "a user in :authority", headers(":method: GET", ":scheme: https", ":authority: u@a.example.com", ":path: /"), "400"},
	{"4.3.1", "two hosts", get("/", "host: a.example.com", "host: a.example.com"), "400"},
	{"4.3.2", ":status", get("/", ":status: 200"), "reset 0x10e"},
	{"4.3.1", "another host", get("/", "host: b.example.com"), "400"},
	{"4.3.1", "no authority", headers(":method: GET", ":scheme: https", ":path: /"), "400"},
	{"4.4", "CONNECT", headers(":method: CONNECT", ":authority: a.example.com:443"), "405"},
	{"4.4", "CONNECT with a path", headers(":method: CONNECT", ":authority: a.example.com:443", ":path: /"), "reset 0x10e"},
	{"9220", ":protocol without CONNECT", headers(":method: GET", connect, ":scheme: https", ":authority: a.example.com", ":path: /"), "reset 0x10e"},
	{"9220", "another protocol", headers(":method: CONNECT", ":protocol: connect-udp", ":scheme: https", ":authority: a.example.com", ":path: /"), "501"},
	{"4.2.2", "too many fields", get("/", strings.Split(strings.Repeat("x: y\n", 200)[:200*5-1], "\n")...), "431"},
	{"4.2.2", "too large a head", get("/", "x: "+strings.Repeat("y", 40<<10)), "431"},
	{"4.2.2", "a large head", get("/", "x: "+strings.Repeat("y", 20<<10)), "200"},
	{"4.2.2", "too large a trailer section", post("/") + data + headers("x: "+strings.Repeat("y", 10<<10)), "reset 0x107"},
	// §7.2: frames that have no place there.
	{"7.2.3", "CANCEL_PUSH", get("/") + frame(frameCancelPush, number(0)), "closed 0x105"},
	{"7.2.4", "SETTINGS", get("/") + frame(frameSettings, ""), "closed 0x105"},
	{"7.2.4", "SETTINGS first", frame(frameSettings, "") + get("/"), "closed 0x105"},
	{"7.2.5", "PUSH_PROMISE", get("/") + frame(framePushPromise, number(0)), "closed 0x105"},
	{"7.2.6", "GOAWAY", get("/") + frame(frameGoAway, number(0)), "closed 0x105"},
	{"7.2.7", "MAX_PUSH_ID", get("/") + frame(frameMaxPushID, number(0)), "closed 0x105"},
	{"7.2.8", "a frame of HTTP/2", get("/") + frame(0x06, "12345678"), "closed 0x105"},
	{"7.2.8", "a frame of HTTP/2 first", frame(0x02, "12345"), "closed 0x105"},
	{"9218 7.2", "PRIORITY_UPDATE", get("/") + frame(framePriority, number(0)+"u=1"), "closed 0x105"},
	// RFC 9204 §2.2, §4.5: what refers to a table that has no room.
	{"QPACK 2.2", "an index of the dynamic table", frame(frameHeaders, "\x00\x00\x80"), "closed 0x200"},
	{"QPACK 2.2.3", "an index behind the static table", frame(frameHeaders, "\x00\x00\xff\x24"), "closed 0x200"},
	{"QPACK 4.5.1", "inserts", frame(frameHeaders, "\x02\x00\x80"), "closed 0x200"},
	{"QPACK 4.5.1", "an empty section", frame(frameHeaders, ""), "closed 0x200"},
	{"QPACK 4.5.6", "a cut string", frame(frameHeaders, "\x00\x00\x27"), "closed 0x200"},
}

func TestRequestStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, handler(echo))
	for _, c := range violations {
		p := r.dial()
		got := receive(p.request(c.sent, true)).String()
		// What ends the connection may come before or after the answer.
		if strings.HasPrefix(c.want, "closed") && !strings.HasSuffix(got, c.want) {
			got = p.closed()
		}
		if got != c.want && !strings.HasSuffix(got, c.want) {
			t.Errorf("%s %s: %q, wanted %q", c.rfc, c.name, got, c.want)
		}
		_ = p.CloseWithError(0x100, "")
	}
}

// What clients do on other streams; "" is that the connection lives.
var streamViolations = []struct {
	rfc, name string
	streams   []string
	end       int // the stream that is ended, from 1
	want      string
}{
	{"6.2.1", "a control stream", []string{"\x00" + frame(frameSettings, "")}, 0, ""},
	{"6.2.1", "two control streams", []string{"\x00" + frame(frameSettings, ""), "\x00" + frame(frameSettings, "")}, 0, "closed 0x103"},
	{"6.2.1", "no SETTINGS", []string{"\x00" + frame(frameGoAway, number(0))}, 0, "closed 0x10a"},
	{"6.2.1", "an unknown frame before SETTINGS", []string{"\x00" + frame(0x21, "")}, 0, "closed 0x10a"},
	{"6.2.1", "the control stream ends", []string{"\x00" + frame(frameSettings, "")}, 1, "closed 0x104"},
	{"6.2.1", "it ends within a frame", []string{"\x00\x04\x05"}, 1, "closed 0x104"},
	{"6.2.2", "a push stream", []string{"\x01\x00"}, 0, "closed 0x103"},
	{"6.2.3", "an unknown stream", []string{"\x00" + frame(frameSettings, ""), "\x21grease"}, 2, ""},
	{"6.2", "a stream without a kind", []string{"\x00" + frame(frameSettings, ""), ""}, 2, ""},
	{"7.1", "SETTINGS that are cut", []string{"\x00" + frame(frameSettings, "\x06")}, 0, "closed 0x106"},
	{"7.1", "GOAWAY with too much", []string{"\x00" + frame(frameSettings, "") + frame(frameGoAway, "\x00\x00")}, 0, "closed 0x106"},
	{"7.1", "GOAWAY with nothing", []string{"\x00" + frame(frameSettings, "") + frame(frameGoAway, "")}, 0, "closed 0x106"},
	{"7.2.1", "DATA", []string{"\x00" + frame(frameSettings, "") + data}, 0, "closed 0x105"},
	{"7.2.2", "HEADERS", []string{"\x00" + frame(frameSettings, "") + get("/")}, 0, "closed 0x105"},
	{"7.2.3", "CANCEL_PUSH", []string{"\x00" + frame(frameSettings, "") + frame(frameCancelPush, number(0))}, 0, "closed 0x108"},
	{"7.2.4", "SETTINGS twice", []string{"\x00" + frame(frameSettings, "") + frame(frameSettings, "")}, 0, "closed 0x105"},
	{"7.2.4", "a setting twice", []string{"\x00" + frame(frameSettings, "\x06\x01\x06\x01")}, 0, "closed 0x109"},
	{"7.2.4.1", "a setting of HTTP/2", []string{"\x00" + frame(frameSettings, "\x02\x00")}, 0, "closed 0x109"},
	{"7.2.4.1", "unknown settings", []string{"\x00" + frame(frameSettings, "\x21\x01\x33\x01\x01\x40\x64\x07\x10")}, 0, ""},
	{"8441", "a connect setting of 2", []string{"\x00" + frame(frameSettings, "\x08\x02")}, 0, "closed 0x109"},
	{"7.2.5", "PUSH_PROMISE", []string{"\x00" + frame(frameSettings, "") + frame(framePushPromise, "\x00")}, 0, "closed 0x105"},
	{"7.2.6", "GOAWAY", []string{"\x00" + frame(frameSettings, "") + frame(frameGoAway, number(8)) + frame(frameGoAway, number(4))}, 0, ""},
	{"7.2.6", "GOAWAY that goes up", []string{"\x00" + frame(frameSettings, "") + frame(frameGoAway, number(4)) + frame(frameGoAway, number(8))}, 0, "closed 0x108"},
	{"7.2.7", "MAX_PUSH_ID", []string{"\x00" + frame(frameSettings, "") + frame(frameMaxPushID, number(4)) + frame(frameMaxPushID, number(8))}, 0, ""},
	{"7.2.7", "MAX_PUSH_ID that goes down", []string{"\x00" + frame(frameSettings, "") + frame(frameMaxPushID, number(8)) + frame(frameMaxPushID, number(4))}, 0, "closed 0x108"},
	{"7.2.7", "MAX_PUSH_ID with nothing", []string{"\x00" + frame(frameSettings, "") + frame(frameMaxPushID, "")}, 0, "closed 0x106"},
	{"7.2.8", "a frame of HTTP/2", []string{"\x00" + frame(frameSettings, "") + frame(0x08, "1234")}, 0, "closed 0x105"},
	{"7.2.8", "an unknown frame", []string{"\x00" + frame(frameSettings, "") + frame(0x21, strings.Repeat("a", 5000))}, 0, ""},
	{"9218 7.2", "PRIORITY_UPDATE", []string{"\x00" + frame(frameSettings, "") + frame(framePriority, number(0)+"u=1")}, 0, ""},
	{"9218 7.2", "PRIORITY_UPDATE of no request", []string{"\x00" + frame(frameSettings, "") + frame(framePriority, number(2)+"u=1")}, 0, "closed 0x108"},
	{"9218 7.2", "PRIORITY_UPDATE of a push", []string{"\x00" + frame(frameSettings, "") + frame(framePriority+1, number(0)+"u=1")}, 0, "closed 0x108"},
	{"10.5", "many settings", []string{"\x00" + frame(frameSettings, manySettings())}, 0, "closed 0x107"},
	{"10.5", "an endless frame", []string{"\x00" + frame(frameSettings, "") + "\x07\x80\x01\x00\x00"}, 0, "closed 0x107"},
	{"QPACK 4.2", "two encoder streams", []string{"\x00" + frame(frameSettings, ""), "\x02", "\x02"}, 0, "closed 0x103"},
	{"QPACK 4.2", "the encoder stream ends", []string{"\x00" + frame(frameSettings, ""), "\x02"}, 2, "closed 0x104"},
	{"QPACK 4.2", "the decoder stream ends", []string{"\x00" + frame(frameSettings, ""), "\x03"}, 2, "closed 0x104"},
	{"QPACK 4.3.1", "a table of no size", []string{"\x00" + frame(frameSettings, ""), "\x02\x20"}, 0, ""},
	{"QPACK 4.3.1", "a table of some size", []string{"\x00" + frame(frameSettings, ""), "\x02\x21"}, 0, "closed 0x201"},
	{"QPACK 4.3.2", "an insert", []string{"\x00" + frame(frameSettings, ""), "\x02\xc1\x01x"}, 0, "closed 0x201"},
	{"QPACK 4.4.1", "an acknowledgement", []string{"\x00" + frame(frameSettings, ""), "\x03\x80"}, 0, "closed 0x202"},
	{"QPACK 4.4.2", "a cancellation", []string{"\x00" + frame(frameSettings, ""), "\x03\x40\x7f\x05"}, 0, ""},
	{"QPACK 4.4.3", "an increment", []string{"\x00" + frame(frameSettings, ""), "\x03\x01"}, 0, "closed 0x202"},
}

func TestOtherStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, handler(echo))
	for _, c := range streamViolations {
		p := r.bare()
		for i, sent := range c.streams {
			s := p.uni(sent)
			if i+1 == c.end {
				_ = s.Close()
			}
		}
		if c.want == "" {
			if got := receive(p.request(get("/"), true)).String(); got != "200" {
				t.Errorf("%s %s: a request behind it: %s", c.rfc, c.name, got)
			}
		} else if got := p.closed(); got != c.want {
			t.Errorf("%s %s: %q, wanted %q", c.rfc, c.name, got, c.want)
		}
		_ = p.CloseWithError(0x100, "")
	}
}

// manySettings are more than anybody has, each of another kind that we do not know.
func manySettings() string {
	var all []byte
	for id := uint64(0x40); id < 0x40+65; id++ {
		all = append(appendVarint(all, id), 0)
	}
	return string(all)
}
