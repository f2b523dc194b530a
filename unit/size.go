package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes: "512B", "64KiB", "10MiB".
type Size int64

// Bytes is the size as a plain number.
func (s Size) Bytes() int64 { return int64(s) }

func sizeScales() [5]scale {
	return [...]scale{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

// String uses the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, u := range sizeScales() {
		if s != 0 && int64(s)%u.worth == 0 {
			return strconv.FormatInt(int64(s)/u.worth, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Form says how a size is written.
func (Size) Form() Form {
	return Form{Name: "size", Is: "a size such as 512B, 64KiB, 10MiB or 1GiB", Pattern: `^[0-9]+(B|KiB|MiB|GiB|TiB)$`}
}

// UnmarshalText reads a whole number and its unit.
func (s *Size) UnmarshalText(text []byte) error {
	word := string(text)
	if isNumber(word) {
		return fmt.Errorf("%q has no unit: write %sB, %sKiB or %sMiB", word, word, word, word)
	}
	number, unit, rest := splitQuantity(word)
	n, err := parseDigits(number)
	if err != nil || rest != "" {
		return notA(word, s.Form())
	}
	for _, u := range sizeScales() {
		if u.name != unit {
			continue
		}
		if n > math.MaxInt64/u.worth {
			return fmt.Errorf("%q is larger than the largest size, 8388607TiB", word)
		}
		*s = Size(n * u.worth)
		return nil
	}
	if near := binaryUnit(unit); near != "" {
		return fmt.Errorf("%q is not a size: write %s%s (1KiB is 1024 bytes)", word, number, near)
	}
	return notA(word, s.Form())
}

// binaryUnit is what somebody meant who wrote "k", "MB" or "gib".
func binaryUnit(unit string) string {
	switch strings.ToLower(unit) {
	case "b":
		return "B"
	case "k", "kb", "kib":
		return "KiB"
	case "m", "mb", "mib":
		return "MiB"
	case "g", "gb", "gib":
		return "GiB"
	case "t", "tb", "tib":
		return "TiB"
	}
	return ""
}
