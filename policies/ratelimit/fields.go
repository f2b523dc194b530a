package ratelimit

import (
	"strconv"

	"github.com/sluice-gateway/sluice/message"
)

// The fields of draft-ietf-httpapi-ratelimit-headers-10: lists of strings with
// parameters (RFC 9651). Partition keys are left out: they would tell a client
// how it is told apart from others.
const (
	policyField = "RateLimit-Policy"
	limitField  = "RateLimit"
	retryField  = "Retry-After"
)

const second = int64(1e9)

// policyValue is the RateLimit-Policy field: q is the number of requests, w the
// seconds in which they count; it is left out where those are not whole.
func policyValue(limits []limit) string {
	var b []byte
	for i := range limits {
		l := &limits[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, '"')
		b = append(b, l.name...)
		b = append(b, `";q=`...)
		b = strconv.AppendInt(b, l.quota, 10)
		if l.per%second == 0 {
			b = append(b, ";w="...)
			b = strconv.AppendInt(b, l.per/second, 10)
		}
	}
	return string(b)
}

// remaining is how many more requests a window would take now.
func (l *limit) remaining(r *reading) int64 {
	return min((l.tolerance-r.debt)/l.interval, l.quota)
}

// reset is when it makes sense to look again, in seconds: when one more request
// fits if none does, else when all of the limit is back.
func (l *limit) reset(r *reading) int64 {
	wait := r.debt
	if l.remaining(r) == 0 {
		wait = r.debt + l.interval - l.tolerance
	}
	return seconds(wait)
}

// seconds rounds up, to at least one.
func seconds(nanoseconds int64) int64 {
	return max(1, (nanoseconds+second-1)/second)
}

// addFields tells the client where it stands. It costs one allocation, for the
// string that both fields are cut from.
func (l *limiter) addFields(h *message.Header, readings []reading, refused bool) {
	var room [256]byte
	b := room[:0]
	retry := int64(0)
	if refused {
		for i := range readings {
			retry = max(retry, readings[i].wait)
		}
		b = strconv.AppendInt(b, seconds(retry), 10)
	}
	digits := len(b)
	if l.headers {
		for i := range readings {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, '"')
			b = append(b, l.limits[i].name...)
			b = append(b, `";r=`...)
			b = strconv.AppendInt(b, l.limits[i].remaining(&readings[i]), 10)
			b = append(b, ";t="...)
			b = strconv.AppendInt(b, l.limits[i].reset(&readings[i]), 10)
		}
	}
	text := string(b)
	if refused {
		h.Del(retryField)
		h.Append(retryField, text[:digits])
	}
	if l.headers {
		h.Append(policyField, l.policyValue)
		h.Append(limitField, text[digits:])
	}
}
