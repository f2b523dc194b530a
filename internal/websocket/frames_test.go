package websocket

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// frame makes a frame; key is nil for an unmasked one.
func frame(opcode byte, fin bool, key, payload []byte) []byte {
	first := opcode
	if fin {
		first |= 0x80
	}
	out := []byte{first, 0}
	switch n := len(payload); {
	case n < 126:
		out[1] = byte(n)
	case n < 1<<16:
		out[1] = 126
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	default:
		out[1] = 127
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	if key == nil {
		return append(out, payload...)
	}
	out[1] |= 0x80
	out = append(out, key...)
	for i, b := range payload {
		out = append(out, b^key[i%4])
	}
	return out
}

var testKey = []byte{1, 2, 3, 4}

func TestFrames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bytes           []byte
		between, closed bool
	}{
		"nothing":                      {nil, true, false},
		"text":                         {frame(1, true, nil, []byte("hello")), true, false},
		"empty":                        {frame(1, true, nil, nil), true, false},
		"empty, masked":                {frame(1, true, testKey, nil), true, false},
		"masked":                       {frame(2, true, testKey, []byte("hello")), true, false},
		"125":                          {frame(2, true, nil, make([]byte, 125)), true, false},
		"126":                          {frame(2, true, testKey, make([]byte, 126)), true, false},
		"64 KiB":                       {frame(2, true, testKey, make([]byte, 1<<16)), true, false},
		"a part of a message":          {frame(1, false, nil, []byte("hel")), true, false},
		"close":                        {frame(8, true, nil, []byte{3, 233}), true, true},
		"close without a status":       {frame(8, true, testKey, nil), true, true},
		"half a close":                 {frame(8, true, nil, []byte{3, 233})[:3], false, false},
		"a first byte":                 {[]byte{0x81}, false, false},
		"a head without its mask":      {[]byte{0x81, 0x80, 1, 2, 3}, false, false},
		"an empty masked head":         {[]byte{0x81, 0x80, 1, 2, 3, 4}, true, false},
		"half a length":                {[]byte{0x82, 126, 0}, false, false},
		"a head and no payload":        {[]byte{0x82, 1}, false, false},
		"a length of 0 in eight bytes": {[]byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0}, true, false},
		"a length that is none":        {append([]byte{0x82, 127, 0x80}, make([]byte, 100)...), false, false},
		"the longest length":           {[]byte{0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1}, false, false},
	} {
		var whole, bytewise Frames
		whole.Pass(test.bytes)
		for i := range test.bytes {
			bytewise.Pass(test.bytes[i : i+1])
		}
		for _, f := range []*Frames{&whole, &bytewise} {
			if f.Between() != test.between || f.Closed() != test.closed {
				t.Errorf("%s: between %v, closed %v", name, f.Between(), f.Closed())
			}
		}
	}
}

// Step stops behind each frame, however the bytes are cut.
func TestStep(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var all []byte
	ends := map[int]bool{}
	for range 200 {
		payload := make([]byte, []int{0, 1, 5, 125, 126, 300, 70000}[random.IntN(7)])
		key := testKey
		if random.IntN(2) == 0 {
			key = nil
		}
		all = append(all, frame(byte(random.IntN(3)), random.IntN(2) == 0, key, payload)...)
		ends[len(all)] = true
	}
	var f Frames
	found := 0
	for at := 0; at < len(all); {
		piece := all[at:min(len(all), at+1+random.IntN(500))]
		n := f.Step(piece)
		if n < 1 || n < len(piece) && !ends[at+n] {
			t.Fatalf("stopped at %d, which is no end", at+n)
		}
		at += n
		if f.Between() != ends[at] {
			t.Fatalf("at %d: between %v", at, f.Between())
		}
		if ends[at] {
			found++
		}
	}
	if found != 200 {
		t.Errorf("%d frames", found)
	}
}

func TestAppendClose(t *testing.T) {
	t.Parallel()
	if got := AppendClose([]byte("x"), GoingAway, false); !bytes.Equal(got, []byte("x\x88\x02\x03\xe9")) {
		t.Errorf("%x", got)
	}
	masked := AppendClose(nil, GoingAway, true)
	if len(masked) != 8 || !bytes.Equal(masked[:2], []byte{0x88, 0x82}) || masked[6]^masked[2] != 3 || masked[7]^masked[3] != 0xe9 {
		t.Errorf("%x", masked)
	}
	if again := AppendClose(nil, GoingAway, true); bytes.Equal(again, masked) {
		t.Error("the masking key is the same")
	}
	for _, b := range [][]byte{masked, AppendClose(nil, 1000, false)} {
		var f Frames
		if n := f.Step(append(b, 1)); n != len(b) || !f.Closed() {
			t.Error(n)
		}
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	if got := Accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // The RFC's example.
		t.Error(got)
	}
	one, other := NewKey(), NewKey()
	if key, err := base64.StdEncoding.DecodeString(one); err != nil || len(key) != 16 || one == other {
		t.Error(one, other, err)
	}
}

func TestFramesBudget(t *testing.T) {
	message := frame(1, true, testKey, []byte("hello"))
	var f Frames
	if n := testing.AllocsPerRun(100, func() { f.Pass(message) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// However the bytes are cut, the result is the same.
func FuzzFrames(f *testing.F) {
	f.Add(frame(1, true, testKey, []byte("hello")), 3)
	f.Add([]byte{0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3}, 1)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		var whole, parts Frames
		whole.Pass(p)
		step := max(1, cut%97)
		for rest := p; len(rest) > 0; {
			n := min(step, len(rest))
			parts.Pass(rest[:n])
			rest = rest[n:]
		}
		if whole != parts {
			t.Fatalf("%+v and %+v", whole, parts)
		}
	})
}
