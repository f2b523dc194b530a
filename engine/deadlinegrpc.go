package engine

import (
	"time"

	"github.com/sluice-gateway/sluice/internal/grpcweb"
)

// grpcExpired says whether a gRPC call has used up the time that its client gives it. An
// origin that knows the deadline ends the call then, a moment before the client does: that
// is no failure of the origin, and the client shall hear of the deadline.
func (p *passage) grpcExpired() bool {
	x := p.x
	if p.grpcCall().form == grpcweb.None {
		return false
	}
	timeout, ok := parseGRPCTimeout(x.Request.Header.Get("grpc-timeout"))
	return ok && time.Since(x.Times.Started) >= timeout
}

// parseGRPCTimeout reads the field grpc-timeout: at most 8 digits and a unit. What would
// be longer than a Duration can hold is the longest one.
func parseGRPCTimeout(s string) (time.Duration, bool) {
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
