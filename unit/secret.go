package unit

import (
	"errors"
	"fmt"
	"log/slog"
)

// Secret is a text that nobody prints by mistake: every way of printing it gives
// "***". It is written like any string, best as a reference: "${env:NAME}" or
// "${file:/run/secrets/name}".
type Secret struct {
	// value is behind a pointer because fmt walks into unexported fields of an
	// enclosing struct without calling Format, and stops at pointers.
	value *string
}

// NewSecret is for tests and for code that makes secrets.
func NewSecret(value string) Secret { return Secret{&value} }

const hidden = "***"

// Reveal is the secret itself; "" where none was set.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsSet says whether there is a secret.
func (s Secret) IsSet() bool { return s.value != nil }

func (s Secret) String() string               { return hidden }
func (s Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(hidden)) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Hidden marks the type: neither the text nor an error about it may be shown.
func (Secret) Hidden() {}

// Form says how a secret is written.
func (Secret) Form() Form { return Form{Name: "secret", Is: "a secret"} }

// UnmarshalText takes any text but an empty one.
func (s *Secret) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("the secret is empty")
	}
	value := string(text)
	s.value = &value
	return nil
}
