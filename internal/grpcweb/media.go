// Package grpcweb is what gRPC-Web adds to gRPC: its media types, the trailer as a last
// frame of the body, and base64 that is sent piece by piece.
//
// The engine uses it for its own refusals, the policy grpc_web for everything else. The
// rules are those of PROTOCOL-WEB.md of the gRPC project.
package grpcweb

import "strings"

// Form is how a call is written.
type Form uint8

const (
	None Form = iota // not a call at all
	GRPC             // application/grpc
	Web              // application/grpc-web: the trailer stands in the body
	Text             // application/grpc-web-text: and the body in base64
)

const (
	grpcMedia = "application/grpc"
	webSuffix = "-web"
	txtSuffix = "-text"
)

// Begins says, at the price of one comparison, whether Parse has something to look at.
func Begins(contentType string) bool {
	return len(contentType) >= len(grpcMedia) && strings.EqualFold(contentType[:len(grpcMedia)], grpcMedia)
}

// Parse reads a Content-Type. media is what was sent, without parameters; suffix is the
// part that says how messages are encoded, such as "+proto", or "".
func Parse(contentType string) (form Form, media, suffix string) {
	if !Begins(contentType) {
		return None, "", ""
	}
	media, _, _ = strings.Cut(contentType, ";")
	media = strings.TrimRight(media, " \t")
	form, suffix = GRPC, media[len(grpcMedia):]
	if rest, ok := cutFold(suffix, webSuffix); ok {
		form, suffix = Web, rest
		if rest, ok := cutFold(rest, txtSuffix); ok {
			form, suffix = Text, rest
		}
	}
	if suffix != "" && suffix[0] != '+' {
		return None, "", ""
	}
	return form, media, suffix
}

func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// Media is the media type of a form; it allocates only for suffixes that are rare.
func Media(form Form, suffix string) string {
	type names [3]string
	var list names
	switch suffix {
	case "":
		list = names{grpcMedia, grpcMedia + webSuffix, grpcMedia + webSuffix + txtSuffix}
	case "+proto":
		list = names{grpcMedia + "+proto", grpcMedia + webSuffix + "+proto", grpcMedia + webSuffix + txtSuffix + "+proto"}
	case "+json":
		list = names{grpcMedia + "+json", grpcMedia + webSuffix + "+json", grpcMedia + webSuffix + txtSuffix + "+json"}
	default:
		return Media(form, "") + suffix
	}
	return list[form-GRPC]
}
