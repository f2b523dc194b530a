package config

import (
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// tree is a value as it was written. It is immutable once it is built, so that
// many documents can share it, and small, because every policy and target of
// every route keeps its own.
type tree struct {
	kind  unit.NodeKind
	look  look // what a plain scalar looks like
	plain bool // a scalar without quotes
	// expanded says that a reference was put into text; children[0].text is then
	// what was written.
	expanded bool
	broken   bool  // a problem with it was reported: there is nothing to add
	line     int32 // from 1 within the chunk that was parsed
	column   int32 // from 1, in characters
	text     string
	children []tree // of a mapping: key, value, key, value, …
}

// look is the type that a plain scalar has by YAML 1.2's core schema.
type look uint8

const (
	looksText look = iota
	looksInt
	looksFloat
	looksBool
	looksNull
)

func (l look) String() string {
	return [...]string{"a text", "a number", "a number", "a boolean", "nothing"}[l]
}

// written is the scalar as it stands in the file.
func (t *tree) written() string {
	if t.expanded {
		return t.children[0].text
	}
	return t.text
}

// child returns the value of a key of a mapping, or nil.
func (t *tree) child(key string) *tree {
	if t.kind != unit.Mapping {
		return nil
	}
	for i := 0; i+1 < len(t.children); i += 2 {
		if t.children[i].text == key {
			return &t.children[i+1]
		}
	}
	return nil
}

// plainScalar finishes a scalar without quotes: it finds out what it looks like.
func (t *tree) plainScalar() {
	t.plain = true
	t.look = looksLike(t.text)
	t.kind = unit.Scalar
	if t.look == looksNull {
		t.kind = unit.Null
	}
}

// looksLike resolves a plain scalar (YAML 1.2 §10.3.2).
func looksLike(s string) look {
	if s == "" {
		return looksNull
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		return numberLook(s)
	}
	switch s {
	case "~", "null", "Null", "NULL":
		return looksNull
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return looksBool
	}
	return looksText
}

func numberLook(s string) look {
	if digits, ok := strings.CutPrefix(s, "0x"); ok && digits != "" && strings.Trim(digits, "0123456789abcdefABCDEF") == "" {
		return looksInt
	}
	if digits, ok := strings.CutPrefix(s, "0o"); ok && digits != "" && strings.Trim(digits, "01234567") == "" {
		return looksInt
	}
	if s == ".nan" || s == ".NaN" || s == ".NAN" {
		return looksFloat
	}
	rest := s
	if rest[0] == '-' || rest[0] == '+' {
		rest = rest[1:]
	}
	if rest == ".inf" || rest == ".Inf" || rest == ".INF" {
		return looksFloat
	}
	whole := digitsAt(rest)
	if whole == len(rest) && whole > 0 {
		return looksInt
	}
	return floatLook(rest, whole)
}

// floatLook looks at what stands behind the first whole digits.
func floatLook(rest string, whole int) look {
	rest = rest[whole:]
	fraction := 0
	if strings.HasPrefix(rest, ".") {
		fraction = digitsAt(rest[1:])
		rest = rest[1+fraction:]
	}
	if whole+fraction == 0 {
		return looksText
	}
	if rest == "" {
		return looksFloat
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return looksText
	}
	rest = rest[1:]
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	if n := digitsAt(rest); n == 0 || n != len(rest) {
		return looksText
	}
	return looksFloat
}

func digitsAt(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
