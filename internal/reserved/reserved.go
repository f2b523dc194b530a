// Package reserved knows the header fields that the configuration may not touch,
// because they frame a message or belong to one connection: the wires write
// them. Policies and targets that change fields ask it when they are built.
package reserved

import "strings"

const (
	frames = "it frames the message, and the gateway computes it"
	hop    = "it belongs to one connection, and the gateway writes or drops it"
)

// fields are what RFC 9110 §7.6.1 and RFC 9112 §6 keep to one connection, and what
// names the host.
var fields = [...]struct{ name, why string }{
	{"Host", "it names the host that is asked; the policy rewrite changes it"},
	{"Content-Length", frames},
	{"Transfer-Encoding", frames},
	{"Trailer", frames},
	{"Connection", hop},
	{"Keep-Alive", hop},
	{"Proxy-Connection", hop},
	{"Proxy-Authenticate", hop},
	{"Proxy-Authorization", hop},
	{"TE", hop},
	{"Upgrade", hop},
	{"HTTP2-Settings", hop},
}

// Why says why a field may not be changed, or "" if it may.
func Why(name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return f.why
		}
	}
	return ""
}
