package apikey

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/sluice-gateway/sluice/internal/reserved"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `api_key`.
type Config struct {
	In        unit.List[Place] `yaml:"in" default:"[{ header: X-API-Key }]" min:"1" max:"8" doc:"Where a key may stand in a request: one place, or a list of them."`
	Anonymous bool             `yaml:"anonymous" default:"false" doc:"Let requests without a key through, without a consumer. A wrong key is refused all the same."`
	Forward   bool             `yaml:"forward" default:"false" doc:"Leave the key in the request that the origin gets. Else it is taken out, and nothing else is changed."`
}

// Place is where a key may stand: one of header, query and cookie.
type Place struct {
	Header string `yaml:"header" doc:"A field of the request."`
	Scheme string `yaml:"scheme" doc:"With header: the word that stands before the key, such as Bearer in Authorization. A field with another word is left alone."`
	Query  string `yaml:"query" doc:"A parameter of the query. Keys in addresses end up in logs and histories: prefer a field."`
	Cookie string `yaml:"cookie" doc:"A cookie."`
}

// Validate is called once the place is filled.
func (p *Place) Validate() error {
	given := 0
	for _, name := range []string{p.Header, p.Query, p.Cookie} {
		if name == "" {
			continue
		}
		given++
		if !message.ValidName(name) {
			return errors.New("the name of a field, a parameter or a cookie has letters, digits, and !#$%&'*+-.^_`|~ only")
		}
	}
	if given != 1 {
		return errors.New("a place is one of { header: NAME }, { query: NAME } and { cookie: NAME }: to look in several, write a list of them")
	}
	if p.Scheme != "" && (p.Header == "" || !message.ValidName(p.Scheme)) {
		return unit.Problem("scheme", "a scheme is one word before the key in a header, such as { header: Authorization, scheme: Bearer }")
	}
	if why := reserved.Why(p.Header); why != "" {
		return unit.Problem("header", p.Header+" cannot carry a key: "+why)
	}
	return nil
}

// Credential is the SHA-256 of a key. The key itself is never stored.
type Credential struct{ hash [sha256.Size]byte }

const prefix = "sha256:"

// Form says how a credential is written.
func (Credential) Form() unit.Form {
	return unit.Form{
		Name:    "hash",
		Is:      "the hash of a key, \"sha256:\" and 64 hexadecimal digits; for the digits: printf %s KEY | sha256sum",
		Pattern: "^sha256:[0-9a-fA-F]{64}$",
	}
}

var (
	errPlain = errors.New("this is not the hash of a key. Keys do not stand in the configuration: write \"sha256:\" and what `printf %s KEY | sha256sum` prints")
	errShort = errors.New("the hash of a key is \"sha256:\" and 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them")
	errEmpty = errors.New("this is the hash of an empty key: was the variable empty when it was made?")
)

// UnmarshalText reads "sha256:" and the digits. No error repeats the text: it may
// be a key.
func (c *Credential) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), prefix)
	if !ok {
		return errPlain
	}
	if len(digits) != hex.EncodedLen(len(c.hash)) {
		return errShort
	}
	if _, err := hex.Decode(c.hash[:], []byte(digits)); err != nil {
		return errShort
	}
	if c.hash == sha256.Sum256(nil) {
		return errEmpty
	}
	return nil
}

// MarshalText is the form in which a credential is written.
func (c Credential) MarshalText() ([]byte, error) {
	return []byte(prefix + hex.EncodeToString(c.hash[:])), nil
}
