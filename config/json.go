package config

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// json appends a value as compact JSON.
func (w *walker) json(out []byte, t *tree) []byte {
	switch t.kind {
	case unit.Null:
		return append(out, "null"...)
	case unit.Sequence:
		out = append(out, '[')
		for i := range t.children {
			if i > 0 {
				out = append(out, ',')
			}
			out = w.json(out, &t.children[i])
		}
		return append(out, ']')
	case unit.Mapping:
		w.duplicates(t)
		out = append(out, '{')
		for i := 0; i < len(t.children); i += 2 {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendText(out, t.children[i].text)
			out = append(out, ':')
			out = w.json(out, &t.children[i+1])
		}
		return append(out, '}')
	}
	return w.jsonScalar(out, t)
}

func (w *walker) jsonScalar(out []byte, t *tree) []byte {
	switch t.look {
	case looksBool:
		return append(out, strings.ToLower(t.text)...)
	case looksInt:
		sign, digits := "", strings.TrimPrefix(t.text, "+")
		if rest, ok := strings.CutPrefix(digits, "-"); ok {
			sign, digits = "-", rest
		}
		if strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0o") {
			n, err := strconv.ParseUint(digits, 0, 64)
			if err != nil {
				w.problem(t, "this number is too large")
			}
			digits = strconv.FormatUint(n, 10)
		}
		if digits = strings.TrimLeft(digits, "0"); digits == "" {
			sign, digits = "", "0"
		}
		return append(append(out, sign...), digits...)
	case looksFloat:
		n, err := strconv.ParseFloat(t.text, 64)
		if err != nil || strings.Trim(t.text, "0123456789.+-eE") != "" {
			w.problem(t, "%s is no number that JSON has", t.text)
			n = 0
		}
		number, _ := json.Marshal(n)
		return append(out, number...)
	}
	return appendText(out, t.text)
}

// appendText quotes as JSON wants it, and leaves < > & as they are.
func appendText(out []byte, s string) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return append(out, strings.TrimSuffix(b.String(), "\n")...)
}
