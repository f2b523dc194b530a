package http2

import (
	"encoding/binary"
	"strings"
	"testing"
)

// Whatever becomes of data, the connection gets its window back (RFC 9113 §6.9): each way sends several windows' worth.
func TestWindowComesBack(t *testing.T) {
	t.Parallel()
	block := strings.Repeat("x", 8<<10)
	for _, c := range []struct {
		name  string
		first string
		wait  string // for what comes back of it
		each  func(i uint32) string
	}{
		{"padding", postFrame(1, "/read"), "", func(uint32) string {
			return strings.Repeat(frame(frameData, flagPadded, 1, "\xffx"+strings.Repeat("\x00", 255)), 32)
		}},
		{"behind the end of a stream", getFrame(1, "/"), "end 1", func(uint32) string { return dataFrame(1, false, block) }},
		{"behind the end of a stream that is there", getFrame(1, "/wait") + dataFrame(1, false, ""), "", func(uint32) string { return dataFrame(1, false, block) }},
		{"behind the client's reset", postFrame(1, "/wait") + resetFrame(1, 8), "", func(uint32) string { return dataFrame(1, false, block) }},
		{"behind our reset", postFrame(1, "/"), "reset 1 NO_ERROR", func(uint32) string { return dataFrame(1, false, block) }},
		{"of a body that is not wanted any more", postFrame(1, "/stop"), "headers 1 103", func(i uint32) string {
			if i%4 != 3 {
				return dataFrame(i/4*2+1, false, block)
			}
			return resetFrame(i/4*2+1, 8) + postFrame(i/4*2+3, "/stop")
		}},
		{"of bodies that nobody takes", "", "", func(i uint32) string {
			id := 2*i + 1
			return postFrame(id, "/wait") + dataFrame(id, false, block) + resetFrame(id, 8)
		}},
		{"of bodies whose length is wrong", "", "", func(i uint32) string {
			id := 2*i + 1
			return postFrame(id, "/wait", "content-length", "1") + dataFrame(id, false, block)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const plenty = 1 << 20
			g := serve(t, Limits{StreamWindow: firstWindow, ConnectionWindow: firstWindow, Floods: Floods{
				Resets: plenty, Unknown: plenty, Queue: plenty,
			}}, conformanceHandler)
			p := dialRaw(t, g.address()).send(greeting, c.first)
			if c.wait != "" {
				p.until(c.wait)
			}
			window := firstWindow
			for i := range uint32(40) {
				frames := c.each(i)
				for window < len(frames) { // More than is counted: heads are not.
					f, err := p.read()
					if err != nil {
						t.Fatalf("no window for part %d: %v", i, err)
					}
					if f.kind == frameGoAway || f.kind == frameReset && string(f.payload) == u32(uint32(FlowControlError)) {
						t.Fatalf("part %d: frame %d with %q", i, f.kind, f.payload)
					}
					if f.kind == frameWindowUpdate && f.id == 0 {
						window += int(binary.BigEndian.Uint32(f.payload))
					}
				}
				p.send(frames)
				window -= counted(frames)
			}
		})
	}
}

// counted is how many bytes of frames count against windows.
func counted(frames string) (n int) {
	for len(frames) > 0 {
		h := parseFrameHeader([]byte(frames))
		if h.kind == frameData {
			n += h.length
		}
		frames = frames[frameHeaderLen+h.length:]
	}
	return n
}
