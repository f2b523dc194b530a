package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/unit"
)

// setting is one value among settings, in a form that does not depend on how they
// were written.
type setting struct {
	path string // "windows[1].per"; "" for the value itself
	// text is what it means, for comparing; it may be a secret. shown is what may be
	// printed.
	text, shown string
}

// settingsOf flattens settings.
func settingsOf(v config.View) []setting { return flatten(nil, "", v) }

func flatten(out []setting, path string, v config.View) []setting {
	if fields, ok := v.Fields(); ok {
		if len(fields) == 0 && path != "" && !v.Typed() {
			return append(out, setting{path, "{}", "{}"})
		}
		for _, f := range fields {
			out = flatten(out, joinKey(path, f.Name), f.Value)
		}
		return out
	}
	if items, ok := v.Items(); ok {
		parts := make([][]setting, len(items))
		inTurn := false
		for i, item := range items {
			parts[i] = flatten(nil, "", item)
			inTurn = inTurn || item.Target()
		}
		return list(out, path, parts, inTurn)
	}
	text, shown := v.Word()
	return append(out, setting{path, text, shown})
}

// list writes words on one line, and anything else entry by entry: under the name of
// each entry where it has one, and then sorted; else, and where their order counts, under
// its number.
func list(out []setting, path string, parts [][]setting, inTurn bool) []setting {
	var words, shown []string
	for _, part := range parts {
		if len(part) == 1 && part[0].path == "" {
			words, shown = append(words, part[0].text), append(shown, part[0].shown)
		}
	}
	if len(words) == len(parts) {
		return append(out, setting{path, "[" + strings.Join(words, ", ") + "]", "[" + strings.Join(shown, ", ") + "]"})
	}
	key := ""
	if !inTurn {
		key = keyOfAll(parts)
	}
	if key != "" {
		slices.SortFunc(parts, func(a, b []setting) int { return strings.Compare(textAt(a, key), textAt(b, key)) })
	}
	for i, part := range parts {
		at := fmt.Sprintf("%s[%d]", path, i)
		if key != "" {
			at = path + "[" + textAt(part, key) + "]"
		}
		for _, s := range part {
			if s.path == key && len(part) > 1 {
				continue // It stands in the path.
			}
			out = append(out, setting{joinPath(at, s.path), s.text, s.shown})
		}
	}
	return out
}

// keyOfAll is the key that names each entry of a list, "" where there is none, and where
// the order of the list counts.
func keyOfAll(parts [][]setting) string {
	if triedInTurn(parts) {
		return ""
	}
	for _, key := range []string{"name", "url", "upstream"} {
		seen := map[string]bool{}
		for _, part := range parts {
			seen[textAt(part, key)] = true
		}
		if len(seen) == len(parts) && !seen[""] {
			return key
		}
	}
	return ""
}

// triedInTurn says whether several entries have conditions: the first one that holds
// decides, so that another order is another meaning.
func triedInTurn(parts [][]setting) bool {
	conditions := 0
	for _, part := range parts {
		if slices.ContainsFunc(part, func(s setting) bool { return strings.HasPrefix(s.path, "when.") }) {
			conditions++
		}
	}
	return conditions > 1
}

func textAt(part []setting, path string) string {
	for _, s := range part {
		if s.path == path {
			return s.text
		}
	}
	return ""
}

func joinKey(path, key string) string {
	if strings.ContainsAny(key, ".[") {
		return path + "[" + strconv.Quote(key) + "]"
	}
	return joinPath(path, key)
}

func joinPath(path, rest string) string {
	if path == "" || rest == "" || rest[0] == '[' {
		return path + rest
	}
	return path + "." + rest
}

// settingsIn flattens what config has decoded: a listener, an upstream, a match. What
// is empty is left out, and so is what has keys without fixed names.
func settingsIn(decoded any) []setting {
	v := reflect.ValueOf(decoded)
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	return flattenValue(nil, "", v)
}

func flattenValue(out []setting, path string, v reflect.Value) []setting {
	if secret, ok := v.Interface().(unit.Secret); ok {
		if !secret.IsSet() {
			return out
		}
		return append(out, setting{path, secret.Reveal(), secret.String()})
	}
	if word, ok := wordOf(v.Interface()); ok {
		if word == "" {
			return out
		}
		return append(out, setting{path, word, word})
	}
	switch v.Kind() {
	case reflect.String: // of a type of its own
		if v.Len() > 0 {
			out = append(out, setting{path, v.String(), v.String()})
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out = flattenValue(out, path, v.Elem())
		}
	case reflect.Struct:
		for f := range v.Type().Fields() {
			switch {
			case f.Anonymous:
				out = flattenValue(out, path, v.FieldByIndex(f.Index))
			case f.IsExported():
				out = flattenValue(out, joinPath(path, keyNamed(f)), v.FieldByIndex(f.Index))
			}
		}
	case reflect.Slice:
		if _, keyed := v.Interface().(interface{ InOrder() }); keyed {
			return flattenMap(out, path, v)
		}
		parts := make([][]setting, v.Len())
		for i := range parts {
			parts[i] = flattenValue(nil, "", v.Index(i))
		}
		if len(parts) > 0 {
			out = list(out, path, parts, false)
		}
	}
	return out
}

// flattenMap writes a unit.Map, sorted by its keys.
func flattenMap(out []setting, path string, v reflect.Value) []setting {
	begin := len(out)
	for i := range v.Len() {
		entry := v.Index(i)
		out = flattenValue(out, joinKey(path, entry.FieldByName("Key").String()), entry.FieldByName("Value"))
	}
	slices.SortFunc(out[begin:], func(a, b setting) int { return strings.Compare(a.path, b.path) })
	return out
}

// keyNamed is the key of a field, as config names it.
func keyNamed(f reflect.StructField) string {
	if name := f.Tag.Get("yaml"); name != "" {
		return name
	}
	var b strings.Builder
	for i, r := range f.Name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// wordOf writes what is written as one word.
func wordOf(value any) (string, bool) {
	switch v := value.(type) {
	case config.Path:
		return expression(v.Text, v.Regex), true
	case config.Condition:
		if v.Present != nil {
			return fmt.Sprintf("{present: %t}", *v.Present), true
		}
		return expression(v.Text, v.Regex), true
	case fmt.Stringer:
		return v.String(), true
	case string:
		return v, true
	case int, bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

func expression(text string, regex bool) string {
	if regex {
		return "{regex: " + strconv.Quote(text) + "}"
	}
	return text
}
