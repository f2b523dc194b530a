package basicauth

import (
	"bytes"
	"encoding/base64"

	"github.com/sluice-gateway/sluice/message"
)

// Limits of what a client may send, in bytes. bcrypt looks at no more than 72 bytes of
// a password; a longer one would be taken for its beginning.
const (
	maxName     = 255
	maxPassword = 72
	maxPlain    = maxName + 1 + maxPassword
	maxEncoded  = (maxPlain + 2) / 3 * 4
)

// login is a name and a password as a client sent them. They are views into room.
type login struct {
	name, password []byte
	room           [maxEncoded]byte
}

// found is what was found in the Authorization field.
type found uint8

const (
	none found = iota // no field, or one with another scheme
	wellformed
	malformed // or ambiguous
)

// scheme is compared without regard to case (RFC 9110 §11.1).
const scheme = "Basic"

// read finds the credentials of a request (RFC 7617 §2).
func (l *login) read(h *message.Header) found {
	value, there := h.Lookup("Authorization")
	if !there {
		return none
	}
	if h.Count("Authorization") > 1 {
		return malformed
	}
	return l.parse(value)
}

func (l *login) parse(value string) found {
	if len(value) < len(scheme) || !message.EqualFold(value[:len(scheme)], scheme) {
		return none
	}
	rest := value[len(scheme):]
	if rest == "" {
		return malformed
	}
	if rest[0] != ' ' {
		return none // a scheme that begins with the same letters
	}
	token := message.TrimOWS(rest)
	if len(token) == 0 || len(token) > maxEncoded || len(token)%4 != 0 {
		return malformed
	}
	n, err := decode(l.room[:], token)
	if err != nil {
		return malformed
	}
	plain := l.room[:n]
	colon := bytes.IndexByte(plain, ':')
	if colon < 0 || colon > maxName || n-colon-1 > maxPassword {
		return malformed
	}
	for _, c := range plain {
		if isControl(c) {
			return malformed
		}
	}
	l.name, l.password = plain[:colon], plain[colon+1:]
	return wellformed
}

// decode undoes base64 strictly: one text for one value. The decoder itself skips
// line ends; they are refused here.
func decode(room []byte, token string) (int, error) {
	var source [maxEncoded]byte
	n := copy(source[:], token)
	if bytes.ContainsAny(source[:n], "\r\n") {
		return 0, base64.CorruptInputError(0)
	}
	return base64.StdEncoding.Strict().Decode(room, source[:n])
}

func isControl(c byte) bool { return c < ' ' || c == 0x7f }
