package route

import "math/bits"

// segments is a path cut at its slashes, with what is needed to look up any form
// of it: "/a/b" has the segments "a" and "b", "/a/" has "a" and "".
//
// sum[i] is the sum of the hashes of the first i segments, each hashed with its
// place. So the hash of a path in which some segments are wild is one subtraction
// per wild segment, and no segment is hashed twice.
type segments struct {
	// n is the number of segments: 0 if the text does not begin with a slash,
	// MaxSegments+1 if there are more than MaxSegments, of which the first are here.
	n   int
	sum [MaxSegments + 1]uint64
	end [MaxSegments]uint32
}

const (
	// Odd numbers with about as many ones as zeros, from the digits of the golden
	// ratio, of e and of pi.
	mulA = 0x9e3779b97f4a7c15
	mulB = 0xb7e151628aed2a6b
	mulC = 0x3243f6a8885a308d

	ones    = 0x0101010101010101
	highs   = 0x8080808080808080
	slashes = 0x2f2f2f2f2f2f2f2f
)

// mix is the folded product: it spreads each bit of both over the whole result.
func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// cut fills s. It reads eight bytes at a time and finds the slash among them with
// the zero-byte test of Mycroft, whose lowest hit is always true.
func (s *segments) cut(path string, seed uint64) {
	s.n = 0
	if len(path) == 0 || path[0] != '/' {
		return
	}
	at, place, sum := 1, seed, uint64(0)
	for s.n < MaxSegments {
		place += mulC
		h := place
		for {
			word := loadPadded(path, at)
			x := word ^ slashes
			if hit := (x - ones) &^ x & highs; hit != 0 {
				n := bits.TrailingZeros64(hit) &^ 7
				h = mix(h^word&(1<<n-1), mulA)
				at += n >> 3
				break
			}
			h = mix(h^word, mulB)
			at += 8
		}
		sum += h
		s.end[s.n&(MaxSegments-1)] = uint32(at)
		s.n++
		s.sum[s.n] = sum
		if at >= len(path) {
			return
		}
		at++
	}
	s.n++
}

// loadPadded returns the eight bytes at i, the first one lowest, with slashes for
// those behind the end.
func loadPadded(s string, i int) uint64 {
	if i+8 <= len(s) {
		return load(s, i)
	}
	rest := uint(len(s) - i)
	if len(s) >= 8 {
		return load(s, len(s)-8)>>(64-8*rest) | slashes<<(8*rest)
	}
	word := uint64(slashes) << (8 * rest)
	for j := uint(0); j < rest; j++ {
		word |= uint64(s[i+int(j)]) << (8 * j)
	}
	return word
}

// load compiles to one instruction.
func load(s string, i int) uint64 {
	b := s[i : i+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// start is where segment i begins, behind its slash.
func (s *segments) start(i int) int {
	if i == 0 {
		return 1
	}
	return int(s.end[i-1]) + 1
}

// key is the hash of the literal segments of a form.
func (s *segments) key(f *form) uint64 {
	h := s.sum[f.count]
	for wild := f.params; wild != 0; wild &= wild - 1 {
		i := bits.TrailingZeros32(wild)
		h -= s.sum[i+1] - s.sum[i]
	}
	return h
}

// fits says whether the path has these literals in the places that the form gives
// them, and something in each of the others.
func (s *segments) fits(path string, f *form, literals string) bool {
	if f.params == 0 {
		return f.count == 0 || len(literals) == int(s.end[f.count-1]) && path[:len(literals)] == literals
	}
	for i := 0; i < int(f.count); i++ {
		from, to := s.start(i), int(s.end[i])
		if f.params>>i&1 != 0 {
			if from == to {
				return false
			}
			continue
		}
		size := to - from + 1
		if len(literals) < size || literals[:size] != path[from-1:to] {
			return false
		}
		literals = literals[size:]
	}
	return literals == ""
}

// hashHost hashes a host so that the case of its letters does not count; bytes
// that only look alike this way are told apart by the comparison that follows.
// What is left behind the last eight bytes is read together with bytes before it.
func hashHost(s string, seed uint64) uint64 {
	const fold = 0x2020202020202020
	h := seed ^ uint64(len(s))*mulC
	if len(s) >= 8 {
		i := 0
		for ; i+8 < len(s); i += 8 {
			h = mix(h^(load(s, i)|fold), mulB)
		}
		return mix(h^(load(s, len(s)-8)|fold), mulA)
	}
	var word uint64
	for i := 0; i < len(s); i++ {
		word |= uint64(s[i]|0x20) << (8 * i)
	}
	return mix(h^word, mulA)
}

// place maps a hash to one of n slots without a division.
func place(hash uint64, n int) int {
	high, _ := bits.Mul64(hash, uint64(n))
	return int(high)
}
