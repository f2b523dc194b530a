package message

import "strings"

// KeepTrailers drops from a trailer section the fields that frame, route,
// authenticate or control a message, and those under which only the gateway
// speaks: read behind the body they would be believed too late (RFC 9110
// §6.5.1). Each wire calls it on what arrives, from clients and from origins.
func KeepTrailers(section *Header) {
	fields := section.Fields()
	kept := 0
	for i := range fields {
		if !ForbiddenTrailer(fields[i].Name) {
			fields[kept] = fields[i]
			kept++
		}
	}
	section.Truncate(kept)
}

// ForbiddenTrailer says whether a field of this name has no business behind a body.
func ForbiddenTrailer(name string) bool {
	name = LowerASCII(name)
	if strings.IndexByte(name, '_') >= 0 {
		name = strings.ReplaceAll(name, "_", "-") // Many origins take one for the other.
	}
	switch name {
	case "authorization", "cookie", "set-cookie", "cache-control", "expires", "date", "age", "vary", "location",
		"retry-after", "warning", "www-authenticate", "via", "forwarded", "range", "if-match", "if-none-match",
		"if-modified-since", "if-unmodified-since", "if-range", "max-forwards", "pragma", "x-real-ip", "x-request-id",
		"host", "expect", "te", "transfer-encoding":
		return true
	}
	// Under X-Consumer-… the gateway says who is calling.
	return strings.HasPrefix(name, "x-consumer-") || strings.HasPrefix(name, "x-forwarded-") ||
		strings.HasPrefix(name, "content-")
}
