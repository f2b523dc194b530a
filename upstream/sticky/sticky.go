// Package sticky makes and reads the cookies by which clients stay with an endpoint.
//
// The value of a cookie is a Token: a keyed hash of the endpoint's address. So it
// tells nobody the address, nobody can make one without the key, and whoever has the
// same key and the same list of endpoints understands it: another gateway, and this
// one after a restart. As it depends on the endpoint only, the tokens of a list are made once, and to
// read a cookie is a look into a table.
package sticky

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
	"time"
)

// Key signs the tokens of one upstream.
type Key [sha256.Size]byte

// String hides the key from whoever prints what holds it.
func (Key) String() string { return "***" }

// DeriveKey makes the key of an upstream, so that the cookie of one means nothing to another
// with the same secret. The secret may have any length; what can be guessed is not one.
func DeriveKey(secret []byte, upstream string) Key {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("sluice sticky cookie of upstream\x00"))
	mac.Write([]byte(upstream))
	return Key(mac.Sum(nil))
}

// tokenBytes is how much of the hash is used: 8 bytes find the endpoint and 16 prove that
// who made the token had the key.
const (
	tokenBytes = idBytes + proofBytes
	idBytes    = 8
	proofBytes = 16
)

// TokenLength is how long a token is as text.
const TokenLength = tokenBytes / 3 * 4

// Token names an endpoint.
type Token [tokenBytes]byte

// Token is that of an endpoint's address.
func (k *Key) Token(address string) Token { return NewSigner(k).Token(address) }

// Signer makes many tokens with a key. It is used by one goroutine at a time.
type Signer struct {
	mac hash.Hash
	in  []byte
	sum []byte
}

// NewSigner returns one that holds on to the key.
func NewSigner(k *Key) *Signer { return &Signer{mac: hmac.New(sha256.New, k[:])} }

// Token is that of an endpoint's address.
func (s *Signer) Token(address string) Token {
	s.mac.Reset()
	s.in = append(s.in[:0], address...)
	s.mac.Write(s.in)
	s.sum = s.mac.Sum(s.sum[:0])
	return Token(s.sum[:tokenBytes])
}

// String is the value of a cookie.
func (t Token) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// Parse reads the value of a cookie; it does not allocate. There is one way only to write a
// token: 32 characters without a remainder.
func Parse(value string) (t Token, ok bool) {
	if len(value) != TokenLength {
		return Token{}, false
	}
	var room [TokenLength]byte
	copy(room[:], value)
	// The decoder skips the ends of lines, so the length may be less.
	n, err := base64.RawURLEncoding.Decode(t[:], room[:])
	if err != nil || n != tokenBytes {
		return Token{}, false
	}
	return t, true
}

// Table finds what belongs to tokens. It is not changed once it is used.
type Table[E any] struct{ entries map[[idBytes]byte]entry[E] }

type entry[E any] struct {
	proof [proofBytes]byte
	value E
}

// NewTable makes a table with room for n tokens.
func NewTable[E any](n int) *Table[E] {
	return &Table[E]{entries: make(map[[idBytes]byte]entry[E], n)}
}

// Add puts a value under a token. One that is there stays.
func (t *Table[E]) Add(token Token, value E) {
	id := [idBytes]byte(token[:idBytes])
	if _, ok := t.entries[id]; !ok {
		t.entries[id] = entry[E]{[proofBytes]byte(token[idBytes:]), value}
	}
}

// Find returns the value under a token, if somebody with the key has made that. How long
// it takes tells nothing of the proof.
func (t *Table[E]) Find(token Token) (value E, ok bool) {
	e, ok := t.entries[[idBytes]byte(token[:idBytes])]
	if !ok || subtle.ConstantTimeCompare(e.proof[:], token[idBytes:]) != 1 {
		return value, false
	}
	return e.value, true
}

// Cut takes all cookies of a name out of the value of a field Cookie (RFC 6265 §4.2.1). What is
// left is as it was, byte for byte; where that is nothing, the field should go. The token
// is the first one that can be read. Names are compared exactly. It allocates once, where one of them
// stands in the middle.
func Cut(field, name string) (rest string, token Token, found, ok bool) {
	var room [4]string
	runs := room[:0] // what is left, as it stands
	from := 0        // where the next of them begins
	last := false
	for start := 0; start < len(field); {
		end, next := len(field), len(field)
		if n := strings.IndexByte(field[start:], ';'); n >= 0 {
			end, next = start+n, start+n+1
		}
		is, value, has := strings.Cut(trim(field[start:end]), "=")
		if last = has && is == name; last {
			found = true
			if !ok {
				token, ok = Parse(value)
			}
			if from < start {
				runs = append(runs, field[from:start])
			}
			from = next
		}
		start = next
	}
	if !found {
		return field, token, false, false
	}
	if from < len(field) {
		runs = append(runs, field[from:])
	}
	rest = strings.Join(runs, "")
	if last && from == len(field) && field[from-1] != ';' {
		rest = strings.TrimSuffix(rest, ";") // It stood between the last two.
	}
	return trim(rest), token, true, ok
}

func trim(s string) string { return strings.Trim(s, " \t") }

// Attributes are those of a cookie (RFC 6265 §4.1.2, and SameSite of its revision).
type Attributes struct {
	Path     string
	Age      time.Duration // how long the client keeps it; 0: until it is closed
	SameSite string        // lax, strict or none
}

var sameSites = map[string]string{"lax": "Lax", "strict": "Strict", "none": "None"}

// Text is what stands behind the value of a cookie. Scripts cannot read the cookie.
func (a *Attributes) Text(secure bool) string {
	text := "; Path=" + a.Path
	if a.Age > 0 {
		text += "; Max-Age=" + strconv.FormatInt(int64(a.Age/time.Second), 10)
	}
	text += "; HttpOnly; SameSite=" + sameSites[a.SameSite]
	if secure {
		text += "; Secure"
	}
	return text
}
