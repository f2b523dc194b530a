package http3

import (
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// pair is an entry of the static table.
type pair struct{ name, value string }

// staticTable is RFC 9204 appendix A, by index. Each line is a name and the values that it
// has at the following indexes.
var staticTable = func() []pair {
	var all []pair
	for line := range strings.SplitSeq(staticLines, "\n") {
		name, values, _ := strings.Cut(line, "|")
		for value := range strings.SplitSeq(values, "|") {
			all = append(all, pair{name, value})
		}
	}
	return all
}()

const staticLines = `:authority|
:path|/
age|0
content-disposition|
content-length|0
cookie|
date|
etag|
if-modified-since|
if-none-match|
last-modified|
link|
location|
referer|
set-cookie|
:method|CONNECT|DELETE|GET|HEAD|OPTIONS|POST|PUT
:scheme|http|https
:status|103|200|304|404|503
accept|*/*|application/dns-message
accept-encoding|gzip, deflate, br
accept-ranges|bytes
access-control-allow-headers|cache-control|content-type
access-control-allow-origin|*
cache-control|max-age=0|max-age=2592000|max-age=604800|no-cache|no-store|public, max-age=31536000
content-encoding|br|gzip
content-type|application/dns-message|application/javascript|application/json|application/x-www-form-urlencoded|image/gif|image/jpeg|image/png|text/css|text/html; charset=utf-8|text/plain|text/plain;charset=utf-8
range|bytes=0-
strict-transport-security|max-age=31536000|max-age=31536000; includesubdomains|max-age=31536000; includesubdomains; preload
vary|accept-encoding|origin
x-content-type-options|nosniff
x-xss-protection|1; mode=block
:status|100|204|206|302|400|403|421|425|500
accept-language|
access-control-allow-credentials|FALSE|TRUE
access-control-allow-headers|*
access-control-allow-methods|get|get, post, options|options
access-control-expose-headers|content-length
access-control-request-headers|content-type
access-control-request-method|get|post
alt-svc|clear
authorization|
content-security-policy|script-src 'none'; object-src 'none'; base-uri 'none'
early-data|1
expect-ct|
forwarded|
if-range|
origin|
purpose|prefetch
server|
timing-allow-origin|*
upgrade-insecure-requests|1
user-agent|
x-forwarded-for|
x-frame-options|deny|sameorigin`

// knownName is a name of the static table, and where it stands.
type knownName struct {
	name   string
	first  int
	secret bool // never put into a table, by anybody (RFC 9204 §7.1.3)
	values []knownValue
}

type knownValue struct {
	value string
	index int
}

// knownNames are sorted into lists by the length of the name. Some are secrets that are in no
// table; their first is -1.
var knownNames = func() (byLength [40][]knownName) {
	add := func(k knownName) { byLength[len(k.name)] = append(byLength[len(k.name)], k) }
	seen := map[string]bool{}
	for first, p := range staticTable {
		if seen[p.name] || p.name[0] == ':' {
			continue
		}
		seen[p.name] = true
		k := knownName{name: p.name, first: first}
		for i := first; i < len(staticTable); i++ {
			if q := staticTable[i]; q.name == p.name && q.value != "" {
				k.values = append(k.values, knownValue{q.value, i})
			}
		}
		k.secret = p.name == "authorization" || p.name == "cookie" || p.name == "set-cookie"
		add(k)
	}
	for _, name := range []string{"x-api-key", "x-auth-token", "x-amz-security-token", "x-csrf-token", "sec-websocket-key"} {
		add(knownName{name: name, first: -1, secret: true})
	}
	return byLength
}()

// known finds a name, in any case; nil is that nothing is known of it.
func known(name string) *knownName {
	if len(name) >= len(knownNames) {
		return nil
	}
	list := knownNames[len(name)]
	for i := range list {
		if message.EqualFold(list[i].name, name) {
			return &list[i]
		}
	}
	return nil
}
