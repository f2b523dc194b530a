package http2

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// conformanceHandler behaves as the path says.
var conformanceHandler = handlerFunc(func(x *message.Exchange) {
	if x.Problem() != nil {
		_ = say(x, 0, "")
		return
	}
	switch x.Request.RawPath {
	case "/wait", "/stop": // until the client has gone
		if x.Request.RawPath == "/stop" {
			x.Wire().StopBody()
			x.Wire().Inform(103, nil)
		}
		w := canceller{make(chan struct{})}
		x.Wire().Await(w)
		<-w.done
		x.Wire().Arrived()
		x.Wire().Abort()
	case "/read":
		data, err := x.Request.ReadBody(1 << 20)
		if err != nil {
			x.Wire().Abort()
			return
		}
		_ = say(x, 200, string(data))
	case "/big":
		_ = say(x, 200, strings.Repeat("x", 200_000))
	default:
		_ = say(x, 200, "hello")
	}
})

// canceller is a message.Canceler that tells.
type canceller struct{ done chan struct{} }

func (c canceller) Cancel() { close(c.done) }

// A conformance case: what a client sends behind its greeting, and what must come back. "alive" is a
// connection that goes on.
type conformanceCase struct {
	section string // of RFC 9113, unless it says otherwise
	name    string
	send    string
	want    string
}

var manyFields = func() string {
	var b strings.Builder
	for range 90 {
		b.WriteString(field("x-filler", strings.Repeat("v", 300)))
	}
	return b.String()
}()

var conformanceCases = []conformanceCase{
	// Starting (3.4).
	{"3.4", "settings are acknowledged", "", "ack"},
	{"3.4", "a request is answered", getFrame(1, "/"), "headers 1 200"},
	{"3.4", "its body ends the stream", getFrame(1, "/"), "end 1"},
	{"5.1.1", "a second request on the same connection", getFrame(1, "/") + getFrame(3, "/"), "end 3"},
	{"5.1.1", "stream numbers may be left out", getFrame(1, "/") + getFrame(77, "/"), "end 77"},
	{"8.3.1", "a POST with a body", postFrame(1, "/read") + dataFrame(1, true, "x"), "end 1"},
	{"8.1", "a POST with trailers", postFrame(1, "/read") + dataFrame(1, false, "x") + frame(frameHeaders, endBoth, 1, field("x-sum", "1")), "end 1"},
	{"8.1", "a HEAD is answered without a body", frame(frameHeaders, endBoth, 1, pseudo("HEAD", "/")), "headers 1 200 end"},
	{"8.3.1", "OPTIONS *", frame(frameHeaders, endBoth, 1, pseudo("OPTIONS", "*")), "headers 1 200"},

	// Frames (4.1, 4.2).
	{"4.1", "a frame of an unknown kind is ignored", frame(0x16, 0, 0, "what") + getFrame(1, "/"), "headers 1 200"},
	{"4.1", "a frame of an unknown kind on a stream is ignored", frame(0xff, 0xff, 5, "what"), "alive"},
	{"4.1", "flags that mean nothing are ignored", frame(framePing, 0x16, 0, "12345678"), "ping 12345678"},
	{"4.1", "the reserved bit of the stream is ignored", frame(framePing, 0, 1<<31, "12345678"), "ping 12345678"},
	{"4.2", "DATA of the largest size", postFrame(1, "/read") + dataFrame(1, true, strings.Repeat("x", 16384)), "end 1"},
	{"4.2", "DATA that is too long", postFrame(1, "/read") + dataFrame(1, true, strings.Repeat("x", 16385)), "reset 1 FRAME_SIZE_ERROR|goaway FRAME_SIZE_ERROR"},
	{"4.2", "HEADERS that are too long", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+field("x-long", strings.Repeat("v", 16385))), "goaway FRAME_SIZE_ERROR"},
	{"4.2", "an unknown frame that is too long", frame(0x16, 0, 0, strings.Repeat("x", 16385)), "goaway FRAME_SIZE_ERROR"},
	{"4.3", "a block that cannot be decoded", frame(frameHeaders, endBoth, 1, "\x40"), "goaway COMPRESSION_ERROR"},
	{"4.3", "PRIORITY within a head", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(framePriority, 0, 1, "\x00\x00\x00\x00\x0a") + frame(frameContinuation, flagEndHeaders, 1, ""), "goaway PROTOCOL_ERROR"},
	{"4.3", "another stream's HEADERS within a head", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + getFrame(3, "/"), "goaway PROTOCOL_ERROR"},
	{"4.3", "an unknown frame within a head", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(0x16, 0, 1, ""), "goaway PROTOCOL_ERROR"},
	{"4.3", "PING within a head", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(framePing, 0, 0, "12345678"), "goaway PROTOCOL_ERROR"},
	{"4.3", "DATA within a head", frame(frameHeaders, 0, 1, pseudo("POST", "/")) + dataFrame(1, true, "x"), "goaway PROTOCOL_ERROR"},

	// Stream states (5.1).
	{"5.1", "idle: DATA", dataFrame(1, true, "x"), "goaway PROTOCOL_ERROR"},
	{"5.1", "idle: RST_STREAM", resetFrame(1, 8), "goaway PROTOCOL_ERROR"},
	{"5.1", "idle: WINDOW_UPDATE", windowFrame(1, 100), "goaway PROTOCOL_ERROR"},
	{"5.1", "idle: CONTINUATION", frame(frameContinuation, flagEndHeaders, 1, pseudo("GET", "/")), "goaway PROTOCOL_ERROR"},
	{"5.1", "idle: PRIORITY is taken", frame(framePriority, 0, 1, "\x00\x00\x00\x00\x0a"), "alive"},
	{"5.1", "half closed: DATA", getFrame(1, "/wait") + dataFrame(1, true, "x"), "reset 1 STREAM_CLOSED|goaway STREAM_CLOSED"},
	{"5.1", "half closed: HEADERS", getFrame(1, "/wait") + getFrame(1, "/"), "reset 1 STREAM_CLOSED|goaway STREAM_CLOSED"},
	{"5.1", "half closed: CONTINUATION", getFrame(1, "/wait") + frame(frameContinuation, flagEndHeaders, 1, ""), "goaway PROTOCOL_ERROR|goaway STREAM_CLOSED"},
	{"5.1", "half closed: WINDOW_UPDATE is taken", getFrame(1, "/wait") + windowFrame(1, 100), "alive"},
	{"5.1", "half closed: PRIORITY is taken", getFrame(1, "/wait") + frame(framePriority, 0, 1, "\x00\x00\x00\x00\x0a"), "alive"},
	{"5.1", "half closed: RST_STREAM is taken", getFrame(1, "/wait") + resetFrame(1, 8), "alive"},
	{"5.1", "reset by the client: DATA", postFrame(1, "/wait") + resetFrame(1, 8) + dataFrame(1, true, "x"), "reset 1 STREAM_CLOSED|goaway STREAM_CLOSED"},
	{"5.1", "reset by the client: HEADERS", postFrame(1, "/wait") + resetFrame(1, 8) + getFrame(1, "/"), "reset 1 STREAM_CLOSED|goaway STREAM_CLOSED"},
	{"5.1", "reset by the client: CONTINUATION", postFrame(1, "/wait") + resetFrame(1, 8) + frame(frameContinuation, flagEndHeaders, 1, ""), "goaway PROTOCOL_ERROR|goaway STREAM_CLOSED"},
	{"5.1", "reset by the client: WINDOW_UPDATE is ignored", postFrame(1, "/wait") + resetFrame(1, 8) + windowFrame(1, 1), "alive"},
	{"5.1", "reset by the client: PRIORITY is taken", postFrame(1, "/wait") + resetFrame(1, 8) + frame(framePriority, 0, 1, "\x00\x00\x00\x00\x0a"), "alive"},
	{"5.1", "reset by the client: RST_STREAM is ignored", postFrame(1, "/wait") + resetFrame(1, 8) + resetFrame(1, 8), "alive"},
	{"5.1", "a body goes on behind an answer that did not want it", postFrame(1, "/") + dataFrame(1, false, "x") + dataFrame(1, false, "x"), "reset 1 NO_ERROR"},
	{"5.1.1", "an even stream number", getFrame(2, "/"), "goaway PROTOCOL_ERROR"},
	{"5.1.1", "a stream number below another one", getFrame(5, "/") + getFrame(3, "/"), "goaway PROTOCOL_ERROR"},
	{"5.1.1", "stream 0 for HEADERS", getFrame(0, "/"), "goaway PROTOCOL_ERROR"},
	{"5.1.1", "an even stream number for DATA", dataFrame(2, true, "x"), "goaway PROTOCOL_ERROR"},
	{"5.3.2 (7540 5.3.1)", "HEADERS that depend on themselves", frame(frameHeaders, endBoth|flagPriority, 1, "\x00\x00\x00\x01\x0a"+pseudo("GET", "/")), "reset 1 PROTOCOL_ERROR|goaway PROTOCOL_ERROR"},
	{"5.3.2 (7540 5.3.1)", "PRIORITY that depends on itself", getFrame(1, "/wait") + frame(framePriority, 0, 1, "\x00\x00\x00\x01\x0a"), "reset 1 PROTOCOL_ERROR"},
	{"5.1", "the same on an idle stream, which cannot be reset", frame(framePriority, 0, 1, "\x00\x00\x00\x01\x0a"), "goaway PROTOCOL_ERROR"},
	{"5.3.2", "HEADERS with a priority", frame(frameHeaders, endBoth|flagPriority, 1, "\x80\x00\x00\x05\xff"+pseudo("GET", "/")), "headers 1 200"},
	{"5.5", "an unknown setting is ignored", settingFrame(0xff, 1), "alive"},
	{"5.5", "an unknown frame of an unusual size is ignored", frame(0x16, 0x5a, 0, strings.Repeat("?", 1000)), "alive"},

	// DATA (6.1).
	{"6.1", "DATA on stream 0", dataFrame(0, true, "x"), "goaway PROTOCOL_ERROR"},
	{"6.1", "padding is taken off", postFrame(1, "/read", "content-length", "3") + frame(frameData, flagEndStream|flagPadded, 1, "\x05abc\x00\x00\x00\x00\x00"), "end 1"},
	{"6.1", "nothing but padding", postFrame(1, "/read", "content-length", "0") + frame(frameData, flagEndStream|flagPadded, 1, "\x02\x00\x00"), "headers 1 200"},
	{"6.1", "padding as long as the frame", postFrame(1, "/read") + frame(frameData, flagEndStream|flagPadded, 1, "\x04abc"), "goaway PROTOCOL_ERROR"},
	{"6.1", "padding longer than the frame", postFrame(1, "/read") + frame(frameData, flagEndStream|flagPadded, 1, "\xffabc"), "goaway PROTOCOL_ERROR"},
	{"6.1", "padded without the length of the padding", postFrame(1, "/read") + frame(frameData, flagEndStream|flagPadded, 1, ""), "goaway FRAME_SIZE_ERROR"},
	{"6.1", "empty DATA end a stream", postFrame(1, "/read") + dataFrame(1, true, ""), "headers 1 200"},

	// HEADERS (6.2).
	{"6.2", "a head in two frames", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(frameContinuation, flagEndHeaders, 1, field("a", "b")), "headers 1 200"},
	{"6.2", "a head cut within a field", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")[:20]) + frame(frameContinuation, flagEndHeaders, 1, pseudo("GET", "/")[20:]), "headers 1 200"},
	{"6.2", "padding is taken off", frame(frameHeaders, endBoth|flagPadded, 1, "\x03"+pseudo("GET", "/")+"\x00\x00\x00"), "headers 1 200"},
	{"6.2", "padding with a priority", frame(frameHeaders, endBoth|flagPadded|flagPriority, 1, "\x03\x00\x00\x00\x00\x10"+pseudo("GET", "/")+"\x00\x00\x00"), "headers 1 200"},
	{"6.2", "padding as long as the frame", frame(frameHeaders, endBoth|flagPadded, 1, "\x02\x82\x82"[:2]), "goaway PROTOCOL_ERROR"},
	{"6.2", "padding longer than the frame", frame(frameHeaders, endBoth|flagPadded, 1, "\xff"+pseudo("GET", "/")), "goaway PROTOCOL_ERROR"},
	{"6.2", "no room for the priority", frame(frameHeaders, endBoth|flagPriority, 1, "\x00\x00"), "goaway FRAME_SIZE_ERROR"},

	// PRIORITY (6.3), RST_STREAM (6.4).
	{"6.3", "PRIORITY on stream 0", frame(framePriority, 0, 0, "\x00\x00\x00\x01\x0a"), "goaway PROTOCOL_ERROR"},
	{"6.3", "PRIORITY of another length", getFrame(1, "/wait") + frame(framePriority, 0, 1, "\x00\x00\x00\x01"), "reset 1 FRAME_SIZE_ERROR"},
	{"6.3", "the same on an idle stream", frame(framePriority, 0, 1, "\x00\x00\x00\x01"), "goaway FRAME_SIZE_ERROR"},
	{"6.3", "PRIORITY for an idle stream above", frame(framePriority, 0, 99, "\x00\x00\x00\x01\x0a") + getFrame(1, "/"), "headers 1 200"},
	{"6.4", "RST_STREAM on stream 0", resetFrame(0, 8), "goaway PROTOCOL_ERROR"},
	{"6.4", "RST_STREAM of another length", getFrame(1, "/wait") + frame(frameReset, 0, 1, "\x00\x00\x00"), "goaway FRAME_SIZE_ERROR"},
	{"6.4", "RST_STREAM with an unknown code", getFrame(1, "/wait") + resetFrame(1, 0xabcdef), "alive"},

	// SETTINGS (6.5).
	{"6.5", "an acknowledgement with a payload", frame(frameSettings, flagAck, 0, "\x00\x03\x00\x00\x00\x64"), "goaway FRAME_SIZE_ERROR"},
	{"6.5", "SETTINGS on a stream", frame(frameSettings, 0, 1, ""), "goaway PROTOCOL_ERROR"},
	{"6.5", "SETTINGS of no multiple of 6", frame(frameSettings, 0, 0, "\x00\x03\x00\x00\x00"), "goaway FRAME_SIZE_ERROR"},
	{"6.5", "an acknowledgement of ours", frame(frameSettings, flagAck, 0, ""), "alive"},
	{"6.5.2", "ENABLE_PUSH that is neither 0 nor 1", settingFrame(settingPush, 2), "goaway PROTOCOL_ERROR"},
	{"6.5.2", "ENABLE_PUSH of a client", settingFrame(settingPush, 1), "alive"},
	{"6.5.2", "INITIAL_WINDOW_SIZE above the largest", settingFrame(settingWindow, 1<<31), "goaway FLOW_CONTROL_ERROR"},
	{"6.5.2", "MAX_FRAME_SIZE below the smallest", settingFrame(settingFrameSize, 16383), "goaway PROTOCOL_ERROR"},
	{"6.5.2", "MAX_FRAME_SIZE above the largest", settingFrame(settingFrameSize, 1<<24), "goaway PROTOCOL_ERROR"},
	{"6.5.2", "MAX_FRAME_SIZE of the largest", settingFrame(settingFrameSize, 1<<24-1), "alive"},
	{"6.5.2", "MAX_CONCURRENT_STREAMS of 0", settingFrame(settingStreams, 0) + getFrame(1, "/"), "headers 1 200"},
	{"6.5.2", "HEADER_TABLE_SIZE of 0", settingFrame(settingTableSize, 0) + getFrame(1, "/"), "headers 1 200"},
	{"6.5.2", "a very large HEADER_TABLE_SIZE", settingFrame(settingTableSize, 1<<32-1) + getFrame(1, "/"), "headers 1 200"},
	{"6.5.3", "two of the same: the last one counts", settingFrame(settingWindow, 1, settingWindow, 100) + getFrame(1, "/"), "end 1"},
	{"6.5.3", "settings are acknowledged", settingFrame(settingWindow, 1000), "ack"},
	{"RFC 8441 3", "ENABLE_CONNECT_PROTOCOL that is neither 0 nor 1", settingFrame(settingConnect, 2), "goaway PROTOCOL_ERROR"},
	{"RFC 8441 3", "ENABLE_CONNECT_PROTOCOL taken back", settingFrame(settingConnect, 1, settingConnect, 0), "goaway PROTOCOL_ERROR"},
	{"RFC 9218 2.1", "NO_RFC7540_PRIORITIES that is neither 0 nor 1", settingFrame(settingNoRFC7540Prio, 2), "goaway PROTOCOL_ERROR"},

	// PUSH_PROMISE (6.6), PING (6.7), GOAWAY (6.8).
	{"6.6", "a client promises a push", getFrame(1, "/wait") + frame(framePushPromise, flagEndHeaders, 1, "\x00\x00\x00\x02"+pseudo("GET", "/")), "goaway PROTOCOL_ERROR"},
	{"6.7", "PING is answered with its own data", frame(framePing, 0, 0, "abcdefgh"), "ping abcdefgh"},
	{"6.7", "an answer that nobody asked for is ignored", frame(framePing, flagAck, 0, "abcdefgh"), "alive"},
	{"6.7", "PING on a stream", frame(framePing, 0, 1, "abcdefgh"), "goaway PROTOCOL_ERROR"},
	{"6.7", "PING that is too short", frame(framePing, 0, 0, "abcdef"), "goaway FRAME_SIZE_ERROR"},
	{"6.7", "PING that is too long", frame(framePing, 0, 0, "abcdefghi"), "goaway FRAME_SIZE_ERROR"},
	{"6.8", "GOAWAY on a stream", frame(frameGoAway, 0, 1, u32(0)+u32(0)), "goaway PROTOCOL_ERROR"},
	{"6.8", "GOAWAY that is too short", frame(frameGoAway, 0, 0, u32(0)), "goaway FRAME_SIZE_ERROR"},
	{"6.8", "a client that says goodbye is still served", frame(frameGoAway, 0, 0, u32(0)+u32(0)+"bye") + getFrame(1, "/"), "end 1"},

	// WINDOW_UPDATE (6.9).
	{"6.9", "an increment of 0 for the connection", windowFrame(0, 0), "goaway PROTOCOL_ERROR"},
	{"6.9", "an increment of 0 for a stream", getFrame(1, "/wait") + windowFrame(1, 0), "reset 1 PROTOCOL_ERROR"},
	{"6.9", "another length", frame(frameWindowUpdate, 0, 0, "\x00\x00\x01"), "goaway FRAME_SIZE_ERROR"},
	{"6.9", "the reserved bit is ignored", windowFrame(0, 1<<31|5), "alive"},
	{"6.9.1", "above the largest, for the connection", windowFrame(0, maxWindow) + windowFrame(0, maxWindow), "goaway FLOW_CONTROL_ERROR"},
	{"6.9.1", "above the largest, for a stream", getFrame(1, "/wait") + windowFrame(1, maxWindow) + windowFrame(1, maxWindow), "reset 1 FLOW_CONTROL_ERROR"},
	{"6.9.2", "no more than a window of one byte", settingFrame(settingWindow, 1) + getFrame(1, "/"), ""},
	{"6.9.2", "a window of zero that is opened", settingFrame(settingWindow, 0) + getFrame(1, "/") + windowFrame(1, 5), "end 1"},
	{"6.9.2", "a window of zero that becomes larger", settingFrame(settingWindow, 0) + getFrame(1, "/") + settingFrame(settingWindow, 5), "end 1"},
	{"6.9.2", "a window that becomes negative", settingFrame(settingWindow, 3) + getFrame(1, "/") + settingFrame(settingWindow, 0) + windowFrame(1, 3) + windowFrame(1, 2), "end 1"},
	{"6.9.2", "above the largest by SETTINGS", getFrame(1, "/wait") + windowFrame(1, maxWindow-firstWindow) + settingFrame(settingWindow, firstWindow+1), "goaway FLOW_CONTROL_ERROR"},

	// CONTINUATION (6.10).
	{"6.10", "several of them", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(frameContinuation, 0, 1, field("a", "b")) + frame(frameContinuation, 0, 1, "") + frame(frameContinuation, flagEndHeaders, 1, field("a", "b")), "headers 1 200"},
	{"6.10", "followed by something else", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(frameContinuation, 0, 1, field("a", "b")) + dataFrame(1, true, "x"), "goaway PROTOCOL_ERROR"},
	{"6.10", "on stream 0", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(frameContinuation, flagEndHeaders, 0, ""), "goaway PROTOCOL_ERROR"},
	{"6.10", "on another stream", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + frame(frameContinuation, flagEndHeaders, 3, ""), "goaway PROTOCOL_ERROR"},
	{"6.10", "behind a complete head", getFrame(1, "/wait") + frame(frameContinuation, flagEndHeaders, 1, field("a", "b")), "goaway PROTOCOL_ERROR|goaway STREAM_CLOSED"},
	{"6.10", "behind DATA", postFrame(1, "/wait") + dataFrame(1, false, "x") + frame(frameContinuation, flagEndHeaders, 1, field("a", "b")), "goaway PROTOCOL_ERROR"},
	{"RFC 9218 7.1", "PRIORITY_UPDATE is taken", frame(framePriorityUpdate, 0, 0, u32(1)+"u=5"), "alive"},
	{"RFC 9218 7.1", "PRIORITY_UPDATE on a stream", frame(framePriorityUpdate, 0, 1, u32(1)+"u=5"), "goaway PROTOCOL_ERROR"},
	{"RFC 9218 7.1", "PRIORITY_UPDATE for stream 0", frame(framePriorityUpdate, 0, 0, u32(0)+"u=5"), "goaway PROTOCOL_ERROR"},
	{"RFC 9218 7.1", "PRIORITY_UPDATE that is too short", frame(framePriorityUpdate, 0, 0, "u=5"), "goaway FRAME_SIZE_ERROR"},
	{"7", "GOAWAY with an unknown code", frame(frameGoAway, 0, 0, u32(0)+u32(0xff)), "alive"},

	// Messages (8).
	{"8.1", "a second head without END_STREAM", postFrame(1, "/read") + frame(frameHeaders, flagEndHeaders, 1, field("a", "b")), "reset 1 PROTOCOL_ERROR"},
	{"8.1", "a pseudo-field in trailers", postFrame(1, "/read") + frame(frameHeaders, endBoth, 1, field(":method", "GET")), "reset 1 PROTOCOL_ERROR"},
	{"8.1", "an upper-case name in trailers", postFrame(1, "/read") + frame(frameHeaders, endBoth, 1, field("A", "b")), "reset 1 PROTOCOL_ERROR"},
	{"8.1", "a field of a connection in trailers", postFrame(1, "/read") + frame(frameHeaders, endBoth, 1, field("connection", "close")), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length that is too large", postFrame(1, "/read", "content-length", "4") + dataFrame(1, true, "abc"), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length that is too small", postFrame(1, "/read", "content-length", "2") + dataFrame(1, true, "abc"), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length that is the sum of several frames", postFrame(1, "/read", "content-length", "4") + dataFrame(1, false, "ab") + dataFrame(1, true, "cd"), "end 1"},
	{"8.1.1", "content-length and the sum of several frames", postFrame(1, "/read", "content-length", "5") + dataFrame(1, false, "ab") + dataFrame(1, true, "cd"), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length without a body", frame(frameHeaders, endBoth, 1, pseudo("POST", "/")+field("content-length", "1")), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length with trailers that come too early", postFrame(1, "/read", "content-length", "5") + dataFrame(1, false, "ab") + frame(frameHeaders, endBoth, 1, field("a", "b")), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length twice", postFrame(1, "/read", "content-length", "1", "content-length", "1") + dataFrame(1, true, "a"), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length with a sign", postFrame(1, "/read", "content-length", "+1") + dataFrame(1, true, "a"), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length as a list", postFrame(1, "/read", "content-length", "1, 1") + dataFrame(1, true, "a"), "reset 1 PROTOCOL_ERROR"},
	{"8.1.1", "content-length past 2^63-1", postFrame(1, "/read", "content-length", "9223372036854775808") + dataFrame(1, true, "a"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "an upper-case name", getWith("X-Upper", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "an empty name", getWith("", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "a space in a name", getWith("x y", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "a colon in a name", getWith("x:y", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "NUL in a name", getWith("x\x00", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "a byte above 0x7f in a name", getWith("x\xc3\xa9", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "CR in a value", getWith("x", "a\rb"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "LF in a value", getWith("x", "a\nb"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "NUL in a value", getWith("x", "a\x00b"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "DEL in a value", getWith("x", "a\x7fb"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "a space before a value", getWith("x", " a"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "a tab behind a value", getWith("x", "a\t"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.1", "a tab within a value", getWith("x", "a\tb"), "headers 1 200"},
	{"8.2.1", "a space behind :path", frame(frameHeaders, endBoth, 1, pseudo("GET", "/ ")), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "Connection", getWith("connection", "keep-alive"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "Keep-Alive", getWith("keep-alive", "5"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "Proxy-Connection", getWith("proxy-connection", "x"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "Transfer-Encoding", getWith("transfer-encoding", "chunked"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "Upgrade", getWith("upgrade", "h2c"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "TE that is not trailers", getWith("te", "trailers, deflate"), "reset 1 PROTOCOL_ERROR"},
	{"8.2.2", "TE: trailers", getWith("te", "trailers"), "headers 1 200"},
	{"8.3", "an unknown pseudo-field", getWith(":what", "v"), "reset 1 PROTOCOL_ERROR"},
	{"8.3", "the pseudo-field of an answer", getWith(":status", "200"), "reset 1 PROTOCOL_ERROR"},
	{"8.3", "a pseudo-field behind a field", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "http", ":authority", "a", "x", "y", ":path", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "an empty :path", frame(frameHeaders, endBoth, 1, pseudo("GET", "")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", ":path without a slash", frame(frameHeaders, endBoth, 1, pseudo("GET", "a")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", ":path in absolute form", frame(frameHeaders, endBoth, 1, pseudo("GET", "http://example.com/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", ":path * without OPTIONS", frame(frameHeaders, endBoth, 1, pseudo("GET", "*")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "no :method", frame(frameHeaders, endBoth, 1, fields(":scheme", "http", ":authority", "a", ":path", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "no :scheme", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":authority", "a", ":path", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "no :path", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "http", ":authority", "a")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "two :method", frame(frameHeaders, endBoth, 1, field(":method", "GET")+pseudo("GET", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "two :scheme", frame(frameHeaders, endBoth, 1, field(":scheme", "http")+pseudo("GET", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "two :path", frame(frameHeaders, endBoth, 1, field(":path", "/")+pseudo("GET", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "two :authority", frame(frameHeaders, endBoth, 1, field(":authority", "a")+pseudo("GET", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "a method that is no token", frame(frameHeaders, endBoth, 1, pseudo("GE T", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "an empty method", frame(frameHeaders, endBoth, 1, pseudo("", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.3.1", "Host in place of :authority", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "http", ":path", "/", "host", "example.com")), "headers 1 200"},
	{"8.3.1", "Host and :authority that are the same", getWith("host", "EXAMPLE.com."), "headers 1 200"},
	{"8.3.1", "Host and :authority that differ", getWith("host", "example.org"), "headers 1 400"},
	{"8.3.1", "neither Host nor :authority", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "http", ":path", "/")), "headers 1 400"},
	{"8.3.1", "user information in :authority", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "http", ":authority", "u@example.com", ":path", "/")), "headers 1 400"},
	{"8.3.1", "an empty :authority", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "http", ":authority", "", ":path", "/")), "headers 1 400"},
	{"8.3.1", "a scheme that is not ours", frame(frameHeaders, endBoth, 1, fields(":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/")), "headers 1 400"},
	{"RFC 9112 3.2", "a fragment in :path", frame(frameHeaders, endBoth, 1, pseudo("GET", "/a#b")), "headers 1 400"},
	{"RFC 9112 3.2", "a space in :path", frame(frameHeaders, endBoth, 1, pseudo("GET", "/a b")), "headers 1 400"},
	{"RFC 9112 3.2", "a byte above 0x7f in :path", frame(frameHeaders, endBoth, 1, pseudo("GET", "/\xc3\xa9")), "headers 1 400"},
	{"8.2.1", "CR LF in :path", frame(frameHeaders, endBoth, 1, pseudo("GET", "/a\r\nHost: b")), "reset 1 PROTOCOL_ERROR"},
	{"8.5", "CONNECT", frame(frameHeaders, flagEndHeaders, 1, fields(":method", "CONNECT", ":authority", "example.com:443")), "headers 1 405"},
	{"8.5", "CONNECT with :path", frame(frameHeaders, flagEndHeaders, 1, fields(":method", "CONNECT", ":authority", "example.com:443", ":path", "/")), "reset 1 PROTOCOL_ERROR"},
	{"8.5", "CONNECT without :authority", frame(frameHeaders, flagEndHeaders, 1, fields(":method", "CONNECT")), "reset 1 PROTOCOL_ERROR"},
	{"RFC 8441 4", ":protocol without CONNECT", getWith(":protocol", "websocket"), "reset 1 PROTOCOL_ERROR"},
	{"RFC 8441 4", "extended CONNECT without :path", frame(frameHeaders, flagEndHeaders, 1, fields(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a")), "reset 1 PROTOCOL_ERROR"},
	{"RFC 8441 4", "extended CONNECT for something else", frame(frameHeaders, flagEndHeaders, 1, fields(":method", "CONNECT", ":protocol", "sctp", ":scheme", "http", ":authority", "a", ":path", "/")), "headers 1 501"},
	{"RFC 9110 10.1.1", "an expectation that is not known", postFrame(1, "/read", "expect", "200-ok"), "headers 1 417"},
	{"RFC 9110 10.1.1", "100-continue is answered", postFrame(1, "/read", "expect", "100-continue"), "headers 1 100"},
	{"8.4", "a client cannot push", frame(framePushPromise, flagEndHeaders, 1, "\x00\x00\x00\x02"), "goaway PROTOCOL_ERROR"},
	{"10.5.1", "a head that is too large", frame(frameHeaders, flagEndStream, 1, pseudo("GET", "/")) + cut(1, manyFields+manyFields[:10*len(field("x-filler", strings.Repeat("v", 300)))]+field("x", strings.Repeat("y", 4000))), "headers 1 431"},
	{"10.5.1", "too many fields", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+strings.Repeat(field("a", "b"), 120)), "headers 1 431"},
	{"10.5.1", "a target that is too long", frame(frameHeaders, endBoth, 1, pseudo("GET", "/"+strings.Repeat("a", 9000))), "headers 1 414"},

	// HPACK (RFC 7541).
	{"RFC 7541 2.3.2", "a field from the table", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+indexedField("x", "y")) + frame(frameHeaders, endBoth, 3, pseudo("GET", "/")+"\xbe"), "headers 3 200"},
	{"RFC 7541 2.3.3", "an index that is not in the table", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\xbe"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 2.3.3", "a name's index that is not in the table", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x7f\x10\x01a"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 4.2", "the size changes at the start", frame(frameHeaders, endBoth, 1, "\x20"+pseudo("GET", "/")), "headers 1 200"},
	{"RFC 7541 4.2", "the size changes twice at the start", frame(frameHeaders, endBoth, 1, "\x20\x3f\xe1\x1f"+pseudo("GET", "/")), "headers 1 200"},
	{"RFC 7541 4.2", "the size changes twice while the table has entries", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+indexedField("x", "y")) + frame(frameHeaders, endBoth, 3, "\x3f\xe0\x1f\x3f\xe1\x1f"+pseudo("GET", "/")+"\xbe"), "headers 3 200"},
	{"RFC 7541 4.2", "the size changes three times", frame(frameHeaders, endBoth, 1, "\x20\x20\x20"+pseudo("GET", "/")), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 4.2", "the size changes at the end", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x20"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 4.2", "the size changes behind an entry", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+indexedField("x", "y")+"\x20"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 5.1", "an integer that is too large", frame(frameHeaders, endBoth, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 5.2", "a string that is cut short", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x00\x05ab"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 5.2", "padding of Huffman coding longer than 7 bits", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x00\x01x\x84\x49\x50\x9f\xff"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 5.2", "padding of Huffman coding with zeros", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x00\x01x\x83\x49\x50\x90"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 5.2", "the end symbol of Huffman coding", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x00\x01x\x87\x49\x51\xff\xff\xff\xfa\x7f"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 6.1", "index 0", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x80"), "goaway COMPRESSION_ERROR"},
	{"RFC 7541 6.1", "a request of the static table alone", frame(frameHeaders, endBoth, 1, "\x82\x86\x84\x41\x0bexample.com"), "headers 1 200"},
	{"RFC 7541 6.2.3", "a field that must never go into a table", frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+"\x10\x01a\x01b"), "headers 1 200"},
	{"RFC 7541 6.3", "a size above the limit", frame(frameHeaders, endBoth, 1, "\x3f\xe2\x1f"+pseudo("GET", "/")), "goaway COMPRESSION_ERROR"},
	{"4.3", "a malformed head is decoded all the same", frame(frameHeaders, endBoth, 1, pseudo("GET", "x")+indexedField("x", "y")) + frame(frameHeaders, endBoth, 3, pseudo("GET", "/")+"\xbe"), "headers 3 200"},
	{"4.3", "trailers are decoded", postFrame(1, "/read") + frame(frameHeaders, endBoth, 1, indexedField("x", "y")) + frame(frameHeaders, endBoth, 3, pseudo("GET", "/")+"\xbe"), "headers 3 200"},
}

// getWith is a request with one field more.
func getWith(name, value string) string {
	return frame(frameHeaders, endBoth, 1, pseudo("GET", "/")+field(name, value))
}

// cut puts the rest of a head into CONTINUATION frames.
func cut(id uint32, block string) string {
	var b strings.Builder
	for len(block) > frameSize {
		b.WriteString(frame(frameContinuation, 0, id, block[:frameSize]))
		block = block[frameSize:]
	}
	b.WriteString(frame(frameContinuation, flagEndHeaders, id, block))
	return b.String()
}

func TestConformance(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, conformanceHandler)
	for _, c := range conformanceCases {
		t.Run(c.section+" "+c.name, func(t *testing.T) {
			p := dialRaw(t, g.address())
			p.send(greeting, c.send)
			switch c.want {
			case "alive":
				p.alive()
			case "": // One byte of the body and no more.
				p.until("headers 1 200")
				p.alive()
				if n := p.data[1]; n != 1 {
					t.Errorf("%d bytes of data", n)
				}
			default:
				said := p.until(c.want)
				if strings.HasPrefix(said, "goaway") {
					p.until("closed") // RFC 9113 §5.4.1: the connection is closed behind an error.
				}
			}
		})
	}
	t.Logf("%d cases", len(conformanceCases))
}

// What comes in place of the greeting.
func TestPreface(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, conformanceHandler)
	for _, c := range []struct{ name, send, want string }{
		{"HTTP/1.1", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "goaway PROTOCOL_ERROR"},
		{"a preface that goes wrong", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "goaway PROTOCOL_ERROR"},
		{"no SETTINGS", preface + frame(framePing, 0, 0, "12345678"), "goaway PROTOCOL_ERROR"},
		{"an acknowledgement for a start", preface + frame(frameSettings, flagAck, 0, ""), "goaway PROTOCOL_ERROR"},
		{"a request before SETTINGS", preface + getFrame(1, "/"), "goaway PROTOCOL_ERROR"},
		{"settings that are wrong", preface + settingFrame(settingPush, 7), "goaway PROTOCOL_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dialRaw(t, g.address()).send(c.send)
			p.until(c.want)
			p.until("closed")
		})
	}
}
