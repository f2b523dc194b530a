// Package headerblock writes the header blocks of HTTP/2 (HPACK, RFC 7541), without
// allocating and with little work for what is sent once.
package headerblock

import (
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Encoder writes the blocks of one direction of a connection. It is used by one goroutine at a
// time, in the order in which blocks leave: wire/http2 holds the lock of the connection.
//
// It remembers what it put into the peer's table in a small cache without
// collisions' chains: what is pushed out of the cache is merely sent again. A pair is
// put into the table when it is seen for the second time, so values that change
// with every message do not push out those that stay. An entry is still in the
// peer's table as long as it and all that came after it fit (RFC 7541 §4.4), which
// needs no list of them.
type Encoder struct {
	slots  *[encoderSlots]slot
	total  uint64 // bytes of all entries ever made
	count  uint64 // entries ever made
	max    uint64 // size of the table
	least  uint64 // the smallest size since the last block
	resize bool
}

const encoderSlots = 64

// TableSize is how large a table gets, in bytes as RFC 7541 §4.1 counts: the size that both sides
// begin with.
const TableSize = 4096

// slot is one pair in the cache.
type slot struct {
	name, value string // as they were given; an empty name is none
	seen        uint32 // hash of a pair that was seen once
	at          uint64 // Encoder.count when it was made
	before      uint64 // Encoder.total when it was made
}

// Init makes the encoder ready for a new connection.
func (e *Encoder) Init() { *e = Encoder{max: TableSize, least: TableSize} }

// SetTable takes the sizes that a peer allows, the smallest and the last of those
// that it named at once.
func (e *Encoder) SetTable(least, last uint32) {
	e.least = min(e.least, uint64(least))
	e.max = min(uint64(last), TableSize)
	e.resize = true
	e.slots = nil
}

// Begin starts a block: it comes before the first field.
func (e *Encoder) Begin(out []byte) []byte {
	if !e.resize {
		return out
	}
	e.resize = false
	if e.least < e.max {
		// Smaller than it would have to be: some decoders take a second change only while
		// the table is empty.
		out = append(out, 0x20)
	}
	e.least = e.max
	return AppendInt(out, 0x20, 5, e.max)
}

// Field appends one field; the name may be in any case.
func (e *Encoder) Field(out []byte, name, value string) []byte {
	static, kind := staticName(name)
	if kind == fieldFresh {
		return AppendLiteral(out, 0x00, 4, static, name, value)
	}
	if kind == fieldSecret {
		return AppendLiteral(out, 0x10, 4, static, name, value)
	}
	size := uint64(len(name) + len(value) + 32)
	if size > e.max/2 {
		return AppendLiteral(out, 0x00, 4, static, name, value)
	}
	if e.slots == nil {
		e.slots = new([encoderSlots]slot)
	}
	hash := pairHash(name, value)
	s := &e.slots[hash>>26]
	if s.name == name && s.value == value && e.total-s.before <= e.max {
		return AppendInt(out, 0x80, 7, staticLen+e.count-s.at)
	}
	if s.seen != hash {
		s.seen = hash
		return AppendLiteral(out, 0x00, 4, static, name, value)
	}
	// The strings may be parts of large ones.
	*s = slot{name: strings.Clone(name), value: strings.Clone(value), at: e.count, before: e.total}
	e.count++
	e.total += size
	return appendIndexing(out, static, name, value)
}

// staticLen is the number of entries in the static table (RFC 7541 appendix A).
const staticLen = 61

func pairHash(name, value string) uint32 {
	h := uint32(len(name))*31 + uint32(len(value))
	if n := len(name); n > 0 {
		h = h*31 + uint32(name[0])
		h = h*31 + uint32(name[n/2])
		h = h*31 + uint32(name[n-1])
	}
	for i := 0; i < min(len(value), 8); i++ {
		h = h*31 + uint32(value[i])
	}
	for i := max(len(value)-8, 8); i < len(value); i++ {
		h = h*31 + uint32(value[i])
	}
	return (h | 1) * 0x9e3779b1
}

// AppendInt appends an integer behind the bits of its prefix (RFC 7541 §5.1).
func AppendInt(out []byte, prefix byte, bits uint, n uint64) []byte {
	limit := uint64(1)<<bits - 1
	if n < limit {
		return append(out, prefix|byte(n))
	}
	out = append(out, prefix|byte(limit))
	for n -= limit; n >= 128; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

// AppendLiteral appends a pair that does not go into the table, without Huffman
// coding: what is sent once is not worth the time.
func AppendLiteral(out []byte, prefix byte, bits uint, static int, name, value string) []byte {
	out = AppendInt(out, prefix, bits, uint64(static))
	if static == 0 {
		out = appendName(out, name)
	}
	out = AppendInt(out, 0, 7, uint64(len(value)))
	return append(out, value...)
}

// appendIndexing appends a pair that goes into the peer's table.
func appendIndexing(out []byte, static int, name, value string) []byte {
	out = AppendInt(out, 0x40, 6, uint64(static))
	if static == 0 {
		out = appendName(out, name)
	}
	if n := hpack.HuffmanEncodeLength(value); n < uint64(len(value)) {
		out = AppendInt(out, 0x80, 7, n)
		return hpack.AppendHuffmanString(out, value)
	}
	out = AppendInt(out, 0, 7, uint64(len(value)))
	return append(out, value...)
}

// appendName appends a name in lower case (RFC 9113 §8.2.1).
func appendName(out []byte, name string) []byte {
	out = AppendInt(out, 0, 7, uint64(len(name)))
	for i := 0; i < len(name); i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return out
}

// AppendStatus appends :status.
func AppendStatus(out []byte, status int) []byte {
	switch status {
	case 200:
		return append(out, 0x80|8)
	case 204:
		return append(out, 0x80|9)
	case 206:
		return append(out, 0x80|10)
	case 304:
		return append(out, 0x80|11)
	case 400:
		return append(out, 0x80|12)
	case 404:
		return append(out, 0x80|13)
	case 500:
		return append(out, 0x80|14)
	}
	return append(out, 0x08, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// AppendLength appends content-length, which is entry 28 of the static table.
func AppendLength(out []byte, n int64) []byte {
	out = append(out, 0x0f, 28-15, 0)
	at := len(out)
	out = strconv.AppendInt(out, n, 10)
	out[at-1] = byte(len(out) - at)
	return out
}

// fieldKind says how a field is put into a block.
type fieldKind uint8

const (
	fieldUsual  fieldKind = iota
	fieldFresh            // another value each time: never put into the table
	fieldSecret           // never put into any table, by nobody (RFC 7541 §7.1.3)
)

// knownField is a name of which something is known.
type knownField struct {
	name  string
	index int // in the static table; 0 is not there
	kind  fieldKind
}

// knownFields are sorted into lists by the length of the name.
var knownFields = func() (byLength [32][]knownField) {
	for _, f := range [...]knownField{
		{":authority", 1, fieldUsual}, {":path", 4, fieldFresh}, {":protocol", 0, fieldUsual},
		{"accept-encoding", 16, fieldUsual}, {"accept-language", 17, fieldUsual}, {"accept-ranges", 18, fieldUsual},
		{"accept", 19, fieldUsual}, {"access-control-allow-origin", 20, fieldUsual}, {"age", 21, fieldFresh},
		{"allow", 22, fieldUsual}, {"authorization", 23, fieldSecret}, {"cache-control", 24, fieldUsual},
		{"content-disposition", 25, fieldUsual}, {"content-encoding", 26, fieldUsual},
		{"content-language", 27, fieldUsual}, {"content-length", 28, fieldFresh}, {"content-location", 29, fieldFresh},
		{"content-range", 30, fieldFresh}, {"content-type", 31, fieldUsual}, {"cookie", 32, fieldSecret},
		{"date", 33, fieldFresh}, {"etag", 34, fieldFresh}, {"expect", 35, fieldUsual}, {"expires", 36, fieldFresh},
		{"from", 37, fieldUsual}, {"if-match", 39, fieldFresh}, {"if-modified-since", 40, fieldFresh},
		{"if-none-match", 41, fieldFresh}, {"if-range", 42, fieldFresh}, {"if-unmodified-since", 43, fieldFresh},
		{"last-modified", 44, fieldFresh}, {"link", 45, fieldUsual}, {"location", 46, fieldFresh},
		{"max-forwards", 47, fieldUsual}, {"range", 50, fieldFresh}, {"referer", 51, fieldFresh},
		{"refresh", 52, fieldUsual}, {"retry-after", 53, fieldUsual}, {"server", 54, fieldUsual},
		{"set-cookie", 55, fieldSecret}, {"strict-transport-security", 56, fieldUsual}, {"user-agent", 58, fieldUsual},
		{"vary", 59, fieldUsual}, {"via", 60, fieldUsual}, {"www-authenticate", 61, fieldUsual},
		{"x-request-id", 0, fieldFresh}, {"traceparent", 0, fieldFresh}, {"x-api-key", 0, fieldSecret},
		{"x-auth-token", 0, fieldSecret}, {"x-amz-security-token", 0, fieldSecret}, {"x-csrf-token", 0, fieldSecret},
		{"x-forwarded-for", 0, fieldUsual}, {"sec-websocket-key", 0, fieldSecret},
	} {
		byLength[len(f.name)] = append(byLength[len(f.name)], f)
	}
	return byLength
}()

// staticName finds a name, in any case, in the static table.
func staticName(name string) (index int, kind fieldKind) {
	if len(name) >= len(knownFields) {
		return 0, fieldUsual
	}
	list := knownFields[len(name)]
	for i := range list {
		if f := &list[i]; strings.EqualFold(f.name, name) {
			return f.index, f.kind
		}
	}
	return 0, fieldUsual
}
