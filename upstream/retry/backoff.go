package retry

import (
	"math/bits"
	"strconv"
	"time"
)

// Backoff says how long to wait before a further try.
//
// The wait is drawn evenly from nothing up to a bound that doubles with each try
// ("full jitter"): requests that failed together do not come back together. The zero
// value is the default one.
type Backoff struct {
	Base     time.Duration // the bound before the first further try; default 25ms
	Cap      time.Duration // the bound never grows past this; default 250ms, at least Base
	AfterCap time.Duration // longest Retry-After of an origin that is waited for; 0 is none
}

// Defaults of a backoff. They are short, because a client waits.
const (
	DefaultBase     = 25 * time.Millisecond
	DefaultCap      = 250 * time.Millisecond
	DefaultAfterCap = time.Second
)

// WithDefaults fills in what is not set.
func (b Backoff) WithDefaults() Backoff {
	if b == (Backoff{}) {
		b.AfterCap = DefaultAfterCap
	}
	if b.Base <= 0 {
		b.Base = DefaultBase
	}
	if b.Cap <= 0 {
		b.Cap = DefaultCap
	}
	b.Cap = max(b.Cap, b.Base)
	return b
}

// Delay is how long to wait before a further try; try is 1 for the first one.
// Random is any number that is evenly distributed over 64 bits.
func (b Backoff) Delay(try int, random uint64) time.Duration {
	return draw(b.bound(try), random)
}

// bound is min(Cap, Base × 2^(try-1)).
func (b Backoff) bound(try int) time.Duration {
	shift := max(try-1, 0)
	if shift >= bits.LeadingZeros64(uint64(b.Base))-1 || b.Base<<shift > b.Cap {
		return b.Cap
	}
	return b.Base << shift
}

// draw maps a random number to 0 … bound-1 without a division.
func draw(bound time.Duration, random uint64) time.Duration {
	high, _ := bits.Mul64(uint64(bound), random)
	return time.Duration(high)
}

// DelayAfter is Delay where the origin has asked for a pause (RFC 9110 §10.2.3). It
// is waited for, and a little longer so that not all come back at its end. Where
// the origin asks for more than AfterCap there is no further try: before that
// time it would be in vain, and after it the client would have waited too long.
func (b Backoff) DelayAfter(try int, random uint64, after time.Duration) (time.Duration, bool) {
	if after > b.AfterCap {
		return 0, false
	}
	if after <= 0 {
		return b.Delay(try, random), true
	}
	return after + draw(b.Base, random), true
}

// ParseAfter reads a Retry-After field: seconds or a date (RFC 9110 §10.2.3). A date
// that has passed is no pause. What is neither is not ok. Now is the time of day,
// which dates are compared with.
func ParseAfter(value string, now time.Time) (after time.Duration, ok bool) {
	if value == "" {
		return 0, false
	}
	if value[0] >= '0' && value[0] <= '9' {
		return parseSeconds(value)
	}
	for _, layout := range dateLayouts {
		if date, err := time.Parse(layout, value); err == nil {
			return max(date.Sub(now), 0), true
		}
	}
	return 0, false
}

// Pushback reads the field grpc-retry-pushback-ms, with which a gRPC server says when to come back. It is
// waited for exactly. Where it is negative, or no number, the server wants no further try; and past
// AfterCap there is none either. (gRPC proposal A6, "Pushback".)
func (b Backoff) Pushback(value string) (time.Duration, bool) {
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil || ms < 0 || ms > int64(b.AfterCap/time.Millisecond) {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// maxAfter is what longer pauses are read as.
const maxAfter = 365 * 24 * time.Hour

func parseSeconds(value string) (time.Duration, bool) {
	var seconds time.Duration
	for i := range len(value) {
		c := value[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = min(seconds*10+time.Duration(c-'0'), maxAfter/time.Second)
	}
	return seconds * time.Second, true
}

// dateLayouts are the three forms of an HTTP date (RFC 9110 §5.6.7).
var dateLayouts = [...]string{
	"Mon, 02 Jan 2006 15:04:05 GMT",
	"Monday, 02-Jan-06 15:04:05 GMT",
	"Mon Jan _2 15:04:05 2006",
}
