package unit

import (
	"strconv"
	"strings"
)

// Factor is how many times as much: "1.5x", in thousandths.
type Factor int32

// Float is the factor as a number.
func (f Factor) Float() float64 { return float64(f) / 1000 }

// String is the shortest form.
func (f Factor) String() string {
	return strconv.FormatFloat(f.Float(), 'f', -1, 64) + "x"
}

// MarshalText is String.
func (f Factor) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// Form says how a factor is written.
func (Factor) Form() Form {
	return Form{Name: "factor", Is: "a factor such as 1.5x", Pattern: `^[0-9]+(\.[0-9]{1,3})?x$`}
}

// UnmarshalText reads a number with up to three digits behind the point, and an x.
func (f *Factor) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(string(text), "x")
	whole, fraction, err := parseDecimal(number)
	if _, after, _ := strings.Cut(number, "."); !ok || err != nil || len(after) > 3 || whole > 1_000_000 {
		return notA(string(text), f.Form())
	}
	*f = Factor(whole*1000 + int64(fraction*1000+0.5))
	return nil
}
