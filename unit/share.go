package unit

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is a part of a whole, from 0% to 100%, in millionths: "20%", "0.5%".
type Share int32

// Whole is 100%.
const Whole Share = 1_000_000

// Fraction is the share as a number from 0 to 1.
func (s Share) Fraction() float64 { return float64(s) / float64(Whole) }

// String is the shortest form.
func (s Share) String() string {
	text := strconv.FormatFloat(float64(s)/10_000, 'f', 4, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + "%"
}

// MarshalText is String.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Form says how a share is written.
func (Share) Form() Form {
	return Form{Name: "share", Is: "a share such as 20% or 0.5%", Pattern: `^[0-9]+(\.[0-9]{1,4})?%$`}
}

// UnmarshalText reads a percentage with up to four digits behind the point.
func (s *Share) UnmarshalText(text []byte) error {
	word := string(text)
	if isNumber(word) {
		return fmt.Errorf("%q has no unit: a share is written as a percentage, such as 20%%", word)
	}
	number, ok := strings.CutSuffix(word, "%")
	whole, fraction, err := parseDecimal(number)
	if _, after, _ := strings.Cut(number, "."); !ok || err != nil || len(after) > 4 {
		return notA(word, s.Form())
	}
	if whole > 100 || whole == 100 && fraction > 0 {
		return fmt.Errorf("%q is more than the whole, 100%%", word)
	}
	*s = Share(whole*10_000 + int64(fraction*10_000+0.5))
	return nil
}
