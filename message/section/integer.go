package section

// ReadInt reads an integer of HPACK or QPACK (RFC 7541 §5.1, RFC 9204 §4.1.1) of up to 62 bits whose
// prefix has that many bits. It is not ok when the integer is larger, or goes on behind b.
func ReadInt(b []byte, bits uint) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	limit := uint64(1)<<bits - 1
	n = uint64(b[0]) & limit
	if n < limit {
		return n, b[1:], true
	}
	for i, shift := 1, uint(0); i < len(b) && shift < 56; i, shift = i+1, shift+7 {
		n += uint64(b[i]&0x7f) << shift
		if b[i]&0x80 == 0 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}
