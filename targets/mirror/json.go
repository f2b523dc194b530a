package mirror

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// step is one key or one index on the way to a value in JSON.
type step struct {
	key   string
	index int  // -1: a key
	any   bool // in a pattern: any key, or any index
}

// pattern is a path whose value may differ.
type pattern []step

// parsePattern reads a path such as items[].price, users.*.seen or ["a.b"][0].
func parsePattern(text string) (pattern, error) {
	var p pattern
	for rest := text; rest != ""; {
		var s step
		var err error
		switch {
		case strings.HasPrefix(rest, `["`):
			key, after, closed := strings.Cut(rest[2:], `"]`)
			if !closed {
				return nil, fmt.Errorf(`in %q a key is not closed: write ["a.b"]`, text)
			}
			s, rest = step{key: key, index: -1}, after
		case rest[0] == '[':
			if s, rest, err = parseIndex(rest); err != nil {
				return nil, fmt.Errorf("%q is no path: %w", text, err)
			}
		default:
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			s, rest = step{key: rest[:end], index: -1, any: rest[:end] == "*"}, rest[end:]
			if s.key == "" {
				return nil, fmt.Errorf("%q is no path: a key is empty", text)
			}
		}
		p = append(p, s)
		if after, dot := strings.CutPrefix(rest, "."); dot {
			if after == "" || after[0] == '[' {
				return nil, fmt.Errorf("%q is no path: a key is missing behind a dot", text)
			}
			rest = after
		}
	}
	if len(p) == 0 {
		return nil, errors.New("the path is empty: write one such as meta.request_id")
	}
	return p, nil
}

// parseIndex reads [] or [3].
func parseIndex(text string) (step, string, error) {
	digits, rest, closed := strings.Cut(text[1:], "]")
	if digits == "" && closed {
		return step{any: true}, rest, nil
	}
	index, err := strconv.Atoi(digits)
	if !closed || err != nil || index < 0 || digits[0] == '+' {
		return step{}, "", errors.New("in brackets stands nothing, a number or a key in quotes")
	}
	return step{index: index}, rest, nil
}

// fits says whether a pattern names the place.
func (p pattern) fits(at []step) bool {
	if len(p) != len(at) {
		return false
	}
	for i, s := range p {
		key := at[i].index < 0
		if key != (s.index < 0) || !s.any && (key && s.key != at[i].key || !key && s.index != at[i].index) {
			return false
		}
	}
	return true
}

// compareJSON compares two texts by what they mean: the order of keys, white space and how
// numbers are spelled make no difference. It is not ok where neither is JSON.
func compareJSON(a, b []byte, ignored []pattern) (difference, bool) {
	left, leftErr := parseJSON(a)
	right, rightErr := parseJSON(b)
	switch {
	case leftErr != nil && rightErr != nil:
		return difference{}, false
	case leftErr != nil || rightErr != nil:
		return difference{verdict: body, at: "$", client: kindOf(left, leftErr), copy: kindOf(right, rightErr)}, true
	}
	w := &jsonWalk{ignored: ignored}
	w.compare(left, right)
	return w.found, true
}

func parseJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("mirror: something stands behind the value")
	}
	return v, nil
}

func kindOf(v any, err error) string {
	if err != nil {
		return "(no JSON)"
	}
	return written(v)
}

// jsonWalk goes through two values at once until they differ.
type jsonWalk struct {
	at      []step
	ignored []pattern
	found   difference
}

// absent stands for a value that is not there.
type absent struct{}

// compare says whether to go on.
func (w *jsonWalk) compare(a, b any) bool {
	for _, p := range w.ignored {
		if p.fits(w.at) {
			return true
		}
	}
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			return w.objects(a, b)
		}
	case []any:
		if b, ok := b.([]any); ok {
			return w.lists(a, b)
		}
	case json.Number:
		if b, ok := b.(json.Number); ok && sameNumber(string(a), string(b)) {
			return true
		}
	default:
		if a == b { // A text, a boolean or null; of other types they are not the same.
			return true
		}
	}
	w.found = difference{body, w.place(), written(a), written(b)}
	return false
}

func (w *jsonWalk) objects(a, b map[string]any) bool {
	keys := make([]string, 0, len(a))
	for key := range a {
		keys = append(keys, key)
	}
	for key := range b {
		if _, both := a[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !w.within(step{key: key, index: -1}, member(a, key), member(b, key)) {
			return false
		}
	}
	return true
}

func member(object map[string]any, key string) any {
	if v, ok := object[key]; ok {
		return v
	}
	return absent{}
}

func (w *jsonWalk) lists(a, b []any) bool {
	for i := range max(len(a), len(b)) {
		var left, right any = absent{}, absent{}
		if i < len(a) {
			left = a[i]
		}
		if i < len(b) {
			right = b[i]
		}
		if !w.within(step{index: i}, left, right) {
			return false
		}
	}
	return true
}

func (w *jsonWalk) within(s step, a, b any) bool {
	w.at = append(w.at, s)
	same := w.compare(a, b)
	w.at = w.at[:len(w.at)-1]
	return same
}

// place is the path in the form in which patterns are written.
func (w *jsonWalk) place() string {
	var b strings.Builder
	for _, s := range w.at {
		switch {
		case s.index >= 0:
			fmt.Fprintf(&b, "[%d]", s.index)
		case s.key == "" || s.key == "*" || strings.ContainsAny(s.key, `.["`):
			fmt.Fprintf(&b, `["%s"]`, s.key)
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.key)
		}
	}
	if b.Len() == 0 {
		return "$"
	}
	return b.String()
}

// written is a value for the log: what has parts is named only.
func written(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case absent:
		return "(absent)"
	case map[string]any:
		return "(object)"
	case []any:
		return "(list)"
	case json.Number:
		return string(v)
	case string:
		return strconv.Quote(v[:min(len(v), 4*maxShown)])
	}
	return fmt.Sprint(v)
}

// sameNumber says whether two numbers of JSON are the same, however they are spelled: 1, 1.0 and
// 10e-1 are. They are not computed: an exponent may be as large as it likes.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	an, ad, ae, aok := canonical(a)
	bn, bd, be, bok := canonical(b)
	return aok && bok && an == bn && ad == bd && ae == be
}

// canonical takes a number apart: its digits without zeros at either end, and the power of ten
// that they are multiplied with.
func canonical(n string) (negative bool, digits string, exponent int64, ok bool) {
	n, negative = strings.CutPrefix(n, "-")
	mantissa, power, scientific := cutExponent(n)
	if scientific {
		var err error
		if exponent, err = strconv.ParseInt(power, 10, 32); err != nil {
			return false, "", 0, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= int64(len(fraction))
	trimmed := strings.TrimRight(digits, "0")
	exponent += int64(len(digits) - len(trimmed))
	if trimmed == "" {
		return false, "", 0, true // -0 is 0.
	}
	return negative, trimmed, exponent, true
}

func cutExponent(n string) (mantissa, power string, scientific bool) {
	if i := strings.IndexAny(n, "eE"); i >= 0 {
		return n[:i], n[i+1:], true
	}
	return n, "", false
}

// maxShown is how many characters of a value or a path the log shows.
const maxShown = 64

// shown cuts a text, between characters.
func shown(text string) string {
	if utf8.RuneCountInString(text) <= maxShown {
		return text
	}
	runes := []rune(text[:min(len(text), 4*maxShown)])
	return string(runes[:min(len(runes), maxShown)]) + "…"
}

// secretive are parts of names whose values are never shown.
var secretive = [...]string{"auth", "cookie", "token", "secret", "key", "pass", "pwd", "session", "credential", "signature", "jwt", "otp", "pin"}

// hidden is a value for the log, or stars where its name looks like that of a credential.
func hidden(at, value string) string {
	name := strings.ToLower(at)
	for _, part := range secretive {
		if strings.Contains(name, part) {
			return "***"
		}
	}
	return shown(value)
}
