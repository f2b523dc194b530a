package unit

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Regexp is a regular expression in the syntax of RE2; matching takes time linear
// in the text.
type Regexp struct{ *regexp.Regexp }

// maxRegexp is how long an expression may be, in bytes.
const maxRegexp = 4096

// String is the expression.
func (r Regexp) String() string {
	if r.Regexp == nil {
		return ""
	}
	return r.Regexp.String()
}

// MarshalText is String.
func (r Regexp) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Form says how an expression is written.
func (Regexp) Form() Form {
	return Form{Name: "regular expression", Is: "a regular expression (RE2 syntax)"}
}

// UnmarshalText compiles the expression.
func (r *Regexp) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return fmt.Errorf("the regular expression is empty: it would match everything")
	}
	if len(text) > maxRegexp {
		return fmt.Errorf("the regular expression is longer than %d bytes", maxRegexp)
	}
	compiled, err := regexp.Compile(string(text))
	if fault, ok := err.(*syntax.Error); ok {
		return fmt.Errorf("%q is not a regular expression (RE2 syntax): %s: %q", text, fault.Code, fault.Expr)
	}
	if err != nil {
		return fmt.Errorf("%q is not a regular expression (RE2 syntax): %w", text, err)
	}
	r.Regexp = compiled
	return nil
}
