package message

import (
	"strconv"
	"time"
)

// IsGRPC says whether a request is a gRPC call, by its media type: application/grpc, with a suffix or
// parameters. gRPC-Web is another protocol.
func IsGRPC(req *Request) bool {
	const media = "application/grpc"
	if req.Method != "POST" {
		return false
	}
	kind := req.Header.Get("Content-Type")
	if len(kind) < len(media) || !EqualFold(kind[:len(media)], media) {
		return false
	}
	if len(kind) == len(media) {
		return true
	}
	switch kind[len(media)] {
	case '+', ';', ' ', '\t':
		return true
	}
	return false
}

// NoGRPCStatus is the status of what is not gRPC, or has none yet.
const NoGRPCStatus = -1

// GRPCStatus is the status of an answer that has nothing but trailers, which are its
// header then, or NoGRPCStatus. Another answer tells its status at the end of its body.
func GRPCStatus(h *Header) int {
	text := h.Get("Grpc-Status")
	if text == "" || len(text) > 2 {
		return NoGRPCStatus
	}
	status := 0
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return NoGRPCStatus
		}
		status = status*10 + int(digit-'0')
	}
	return status
}

// GRPCFailed says whether a status of gRPC speaks of the server's health, not of the call.
func GRPCFailed(status int) bool {
	const unknown, internal, unavailable, dataLoss = 2, 13, 14, 15
	return status == unknown || status == internal || status == unavailable || status == dataLoss
}

// FormatGRPCTimeout writes a time for the field grpc-timeout, in the finest unit for which 8 digits are
// enough. It is never longer than d.
func FormatGRPCTimeout(d time.Duration) string {
	d = max(d, 0)
	for _, unit := range [...]struct {
		length time.Duration
		letter byte
	}{{time.Nanosecond, 'n'}, {time.Microsecond, 'u'}, {time.Millisecond, 'm'}, {time.Second, 'S'}, {time.Minute, 'M'}} {
		if n := d / unit.length; n <= 99999999 {
			var text [9]byte
			return string(append(strconv.AppendInt(text[:0], int64(n), 10), unit.letter))
		}
	}
	return strconv.FormatInt(int64(min(d/time.Hour, 99999999)), 10) + "H"
}

// ParseGRPCTimeout reads the field grpc-timeout: at most 8 digits and a unit. What would
// be longer than a Duration can hold is the longest one.
func ParseGRPCTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	var n time.Duration
	for i := range len(s) - 1 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + time.Duration(s[i]-'0')
	}
	const longest = time.Duration(1<<63 - 1)
	if n > longest/unit {
		return longest, true
	}
	return n * unit, true
}
