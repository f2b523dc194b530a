package scripts

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-gateway/sluice/test/rig"
)

// A block that expects a message has fields, then, if it says anything of the
// body, an empty line and the body.

// split cuts a block at its first empty line.
func split(block []string) (head []string, body string, hasBody bool) {
	for i, line := range block {
		if line == "" {
			return block[:i], strings.Join(block[i+1:], "\n"), true
		}
	}
	return block, "", false
}

// asRegexp returns what stands between slashes.
func asRegexp(want string) (*regexp.Regexp, bool, error) {
	if len(want) < 2 || want[0] != '/' || want[len(want)-1] != '/' {
		return nil, false, nil
	}
	re, err := regexp.Compile(want[1 : len(want)-1])
	return re, true, err
}

// matches compares a text with what is wanted: the text itself, or /regexp/.
func matches(want, got string) (bool, error) {
	re, ok, err := asRegexp(want)
	if err != nil {
		return false, err
	}
	if ok {
		return re.MatchString(got), nil
	}
	want, err = rig.Unescape(want)
	return want == got, err
}

// contains is like matches, but a plain text needs only to be a part.
func contains(want, got string) (bool, error) {
	re, ok, err := asRegexp(want)
	if err != nil {
		return false, err
	}
	if ok {
		return re.MatchString(got), nil
	}
	return strings.Contains(got, want), nil
}

// checkFields compares fields with the lines of a block: "Name: value",
// "Name: /regexp/", or "!Name" for a field that must not be there. A list of
// values is joined by ", ".
func checkFields(lines []string, fields []rig.Field) error {
	for _, line := range lines {
		if name, absent := strings.CutPrefix(line, "!"); absent {
			if got := rig.Values(fields, name); len(got) > 0 {
				return fmt.Errorf("there must be no %s, but it is %q", name, got)
			}
			continue
		}
		name, want, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("not a field in a block: %q", line)
		}
		values := rig.Values(fields, name)
		got := strings.Join(values, ", ")
		same, err := matches(strings.TrimSpace(want), got)
		if err != nil {
			return err
		}
		if len(values) == 0 || !same {
			return fmt.Errorf("%s: wanted %s, got %q", name, strings.TrimSpace(want), values)
		}
	}
	return nil
}

// checkMessage compares a message with a block and with words such as
// length=1000, framing=chunked, incomplete.
func checkMessage(m *rig.Message, block []string, words []string) error {
	head, body, hasBody := split(block)
	if err := checkFields(head, m.Fields); err != nil {
		return err
	}
	if hasBody {
		same, err := matches(body, m.Body)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("body: wanted %s\n       got %s", rig.Quote(body), rig.Quote(m.Body))
		}
	}
	wantIncomplete := false
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "incomplete":
			wantIncomplete = true
		case "bodyless":
		case "length":
			if fmt.Sprint(len(m.Body)) != value {
				return fmt.Errorf("wanted a body of %s bytes, got %d", value, len(m.Body))
			}
		case "framing":
			if m.Framing != value {
				return fmt.Errorf("wanted a body framed by %s, got %s", value, m.Framing)
			}
		default:
			return fmt.Errorf("unknown word %q", word)
		}
	}
	if wantIncomplete != (m.Incomplete != nil) {
		return fmt.Errorf("incomplete: wanted %v, got %v", wantIncomplete, m.Incomplete)
	}
	return nil
}

// checkText looks for every line of a block in a text.
func checkText(block []string, text string) error {
	for _, want := range block {
		if missing, ok := strings.CutPrefix(want, "!"); ok {
			found, err := contains(missing, text)
			if err != nil {
				return err
			}
			if found {
				return fmt.Errorf("must not be there: %s\nin: %s", missing, rig.Quote(text))
			}
			continue
		}
		found, err := contains(want, text)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("not found: %s\nin: %s", want, text)
		}
	}
	return nil
}

// checkLine looks for one line of a text that has everything in a block.
func checkLine(block []string, text string) error {
	for line := range strings.Lines(text) {
		if checkText(block, line) == nil {
			return nil
		}
	}
	return fmt.Errorf("no line has all of %q", block)
}
