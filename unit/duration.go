package unit

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Duration is a length of time in nanoseconds, never negative: "250ms", "30s",
// "1h30m", "1d".
type Duration time.Duration

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// scale is one unit and what it is worth.
type scale struct {
	name  string
	worth int64
}

// durationScales goes from large to small.
func durationScales() [7]scale {
	return [...]scale{
		{"d", int64(24 * time.Hour)},
		{"h", int64(time.Hour)},
		{"m", int64(time.Minute)},
		{"s", int64(time.Second)},
		{"ms", int64(time.Millisecond)},
		{"us", int64(time.Microsecond)},
		{"ns", 1},
	}
}

// String is the shortest form that UnmarshalText reads back to the same value.
func (d Duration) String() string {
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	rest := int64(d)
	for _, s := range durationScales() {
		if n := rest / s.worth; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, s.name)
			rest -= n * s.worth
		}
	}
	return b.String()
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Form says how a duration is written.
func (Duration) Form() Form {
	return Form{
		Name:    "duration",
		Is:      "a duration such as 250ms, 30s, 5m, 2h or 1d",
		Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d))+$`,
	}
}

// UnmarshalText reads one or more numbers, each followed by its unit.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if isNumber(s) {
		return fmt.Errorf("%q has no unit: write %sms, %ss, %sm, %sh or %sd", s, s, s, s, s, s)
	}
	total, rest := 0.0, s
	exact := int64(0)
	for rest != "" {
		number, unit, after := splitQuantity(rest)
		worth := durationWorth(unit)
		if number == "" || worth == 0 {
			return notA(s, d.Form())
		}
		part, fraction, err := parseDecimal(number)
		if err != nil {
			return notA(s, d.Form())
		}
		total += (float64(part) + fraction) * float64(worth)
		if total > math.MaxInt64/2 {
			return errTooLong
		}
		exact += part*worth + int64(math.Round(fraction*float64(worth)))
		rest = after
	}
	if s == "" {
		return notA(s, d.Form())
	}
	*d = Duration(exact)
	return nil
}

var errTooLong = errors.New("this is longer than the longest duration, about 146 years")

func durationWorth(unit string) int64 {
	for _, s := range durationScales() {
		if s.name == unit {
			return s.worth
		}
	}
	return 0
}

// splitQuantity cuts "1.5h30m" into "1.5", "h" and "30m".
func splitQuantity(s string) (number, unit, rest string) {
	i := 0
	for i < len(s) && (s[i] == '.' || s[i] >= '0' && s[i] <= '9') {
		i++
	}
	j := i
	for j < len(s) && s[j] != '.' && (s[j] < '0' || s[j] > '9') {
		j++
	}
	return s[:i], s[i:j], s[j:]
}

// parseDecimal reads digits, and perhaps a point and more digits.
func parseDecimal(s string) (whole int64, fraction float64, err error) {
	before, after, pointed := strings.Cut(s, ".")
	whole, err = parseDigits(before)
	if err != nil || !pointed {
		return whole, 0, err
	}
	part, err := parseDigits(after)
	return whole, float64(part) / math.Pow10(len(after)), err
}

var errDigits = errors.New("not a number")

func parseDigits(s string) (int64, error) {
	if s == "" || len(s) > 18 {
		return 0, errDigits
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, errDigits
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, nil
}

// isNumber says whether s is a number without a unit.
func isNumber(s string) bool {
	_, _, err := parseDecimal(s)
	return err == nil
}
