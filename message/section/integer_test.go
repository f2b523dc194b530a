package section

import (
	"bytes"
	"testing"
)

func TestReadInt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		block []byte
		bits  uint
		n     uint64
		rest  []byte
		ok    bool
	}{
		{[]byte{0x0a}, 5, 10, []byte{}, true},                                      // RFC 7541 C.1.1.
		{[]byte{0xea, 1}, 5, 10, []byte{1}, true},                                  // What stands before the prefix is not looked at.
		{[]byte{0x1f, 0x9a, 0x0a, 7}, 5, 1337, []byte{7}, true},                    // C.1.2.
		{[]byte{0x2a}, 8, 42, []byte{}, true},                                      // C.1.3.
		{[]byte{0x1f, 0x00}, 5, 31, []byte{}, true},                                // The largest prefix with nothing on top.
		{[]byte{0x1f, 0x80, 0x80, 0x00}, 5, 31, []byte{}, true},                    // Longer than it need be.
		{nil, 5, 0, nil, false},                                                    // Nothing there.
		{[]byte{0x1f}, 5, 0, nil, false},                                           // Cut off behind the prefix,
		{[]byte{0x1f, 0x9a}, 5, 0, nil, false},                                     // and within the rest.
		{append([]byte{0x1f}, bytes.Repeat([]byte{0xff}, 8)...), 5, 0, nil, false}, // Too large.
	} {
		n, rest, ok := ReadInt(test.block, test.bits)
		if ok != test.ok || ok && (n != test.n || !bytes.Equal(rest, test.rest)) {
			t.Errorf("% x, %d bits: %d, % x, %v", test.block, test.bits, n, rest, ok)
		}
	}
}
