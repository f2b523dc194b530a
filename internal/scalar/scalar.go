// Package scalar says which type a plain scalar of YAML has, one without quotes.
package scalar

import "strings"

// Look is the type that a plain scalar has by YAML 1.2's core schema.
type Look uint8

const (
	Text Look = iota
	Int
	Float
	Bool
	Null
)

func (l Look) String() string {
	return [...]string{"a text", "a number", "a number", "a boolean", "nothing"}[l]
}

// LooksLike resolves a plain scalar (YAML 1.2 §10.3.2).
func LooksLike(s string) Look {
	if s == "" {
		return Null
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		return numberLook(s)
	}
	switch s {
	case "~", "null", "Null", "NULL":
		return Null
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return Bool
	}
	return Text
}

func numberLook(s string) Look {
	if digits, ok := strings.CutPrefix(s, "0x"); ok && digits != "" && strings.Trim(digits, "0123456789abcdefABCDEF") == "" {
		return Int
	}
	if digits, ok := strings.CutPrefix(s, "0o"); ok && digits != "" && strings.Trim(digits, "01234567") == "" {
		return Int
	}
	if s == ".nan" || s == ".NaN" || s == ".NAN" {
		return Float
	}
	rest := s
	if rest[0] == '-' || rest[0] == '+' {
		rest = rest[1:]
	}
	if rest == ".inf" || rest == ".Inf" || rest == ".INF" {
		return Float
	}
	whole := digitsAt(rest)
	if whole == len(rest) && whole > 0 {
		return Int
	}
	return floatLook(rest, whole)
}

// floatLook looks at what stands behind the first whole digits.
func floatLook(rest string, whole int) Look {
	rest = rest[whole:]
	fraction := 0
	if strings.HasPrefix(rest, ".") {
		fraction = digitsAt(rest[1:])
		rest = rest[1+fraction:]
	}
	if whole+fraction == 0 {
		return Text
	}
	if rest == "" {
		return Float
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return Text
	}
	rest = rest[1:]
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	if n := digitsAt(rest); n == 0 || n != len(rest) {
		return Text
	}
	return Float
}

func digitsAt(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
