package section

import "github.com/sluice-gateway/sluice/message"

// ConnectionField says whether a field may not leave over HTTP/2 (RFC 9113 §8.2.2).
func ConnectionField(name string) bool { return mayBeSpecial(len(name)) && connectionField(name) }

func connectionField(name string) bool {
	switch len(name) {
	case 7:
		return message.EqualFold(name, "upgrade") || message.EqualFold(name, "trailer")
	case 10:
		return message.EqualFold(name, "connection") || message.EqualFold(name, "keep-alive")
	case 14:
		return message.EqualFold(name, "http2-settings") || message.EqualFold(name, "content-length")
	case 16:
		return message.EqualFold(name, "proxy-connection")
	case 17:
		return message.EqualFold(name, "transfer-encoding")
	}
	return false
}
