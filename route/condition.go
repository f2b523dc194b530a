package route

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// Test is what a Condition asks of a value.
type Test uint8

const (
	// Exact: a value is equal to Condition.Value, byte for byte.
	Exact Test = iota
	// Present: there is a field or parameter of this name, whatever its value.
	Present
	// Absent: there is none.
	Absent
	// Regex: a value matches the expression in Condition.Value.
	Regex
)

// Condition is what a rule asks of one header field or one query parameter. Where
// there are several of that name, one that passes is enough.
//
// Header names are compared without regard to ASCII case. Names and values of the
// query are percent-decoded, '+' is a space, and an invalid escape stands for
// itself; case counts; only '&' separates.
type Condition struct {
	Name  string
	Test  Test
	Value string // for Exact the value, for Regex the expression

	regex *regexp.Regexp
}

// RegexCondition makes a condition of a regular expression (Go's regexp, linear
// time), anchored as written.
func RegexCondition(name, expr string) (Condition, error) {
	regex, err := compileRegex(expr)
	if err != nil {
		return Condition{}, fmt.Errorf("regex %w", err)
	}
	return Condition{Name: name, Test: Regex, Value: expr, regex: regex}, nil
}

// String says the condition in words, as Explain shows it.
func (c Condition) String() string {
	switch c.Test {
	case Present:
		return c.Name + " is present"
	case Absent:
		return c.Name + " is absent"
	case Regex:
		return fmt.Sprintf("%s matches %q", c.Name, c.Value)
	}
	return fmt.Sprintf("%s is %q", c.Name, c.Value)
}

// check finds conditions that cannot work; Build calls it.
func (c *Condition) check() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("a condition has no name")
	case c.Test > Regex:
		return fmt.Errorf("the condition on %q has an unknown test %d", c.Name, c.Test)
	case c.Test == Regex && c.regex == nil:
		return fmt.Errorf("the regex condition on %q was not made by RegexCondition", c.Name)
	}
	return nil
}

// checkHeader also refuses fields that never reach a rule: the wire takes them out
// of the header (see message.Header).
func (c *Condition) checkHeader() error {
	if err := c.check(); err != nil {
		return err
	}
	if !message.ValidName(c.Name) {
		return fmt.Errorf("header %q is not a field name", c.Name)
	}
	switch message.LowerASCII(c.Name) {
	case "host":
		return fmt.Errorf("header %q cannot be a condition: match the host with host", c.Name)
	case "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return fmt.Errorf("header %q cannot be a condition: it belongs to the connection and is taken away on arrival", c.Name)
	}
	return nil
}

func (c *Condition) passes(value string) bool {
	switch c.Test {
	case Exact:
		return value == c.Value
	case Regex:
		return c.regex.MatchString(value)
	}
	return c.Test == Present
}

// holdsHeader says whether a request's header meets the condition.
func (c *Condition) holdsHeader(h *message.Header) bool {
	fields := h.Fields()
	for i := range fields {
		if !message.EqualFold(fields[i].Name, c.Name) {
			continue
		}
		if c.Test == Absent {
			return false
		}
		if c.passes(fields[i].Value) {
			return true
		}
	}
	return c.Test == Absent
}

// holdsQuery says whether a request's query meets the condition. It allocates
// only where a regular expression meets a value that has to be decoded.
func (c *Condition) holdsQuery(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" || !equalDecoded(name, c.Name) {
			continue
		}
		switch c.Test {
		case Absent:
			return false
		case Present:
			return true
		case Exact:
			if equalDecoded(value, c.Value) {
				return true
			}
		case Regex:
			if c.regex.MatchString(decode(value)) {
				return true
			}
		}
	}
	return c.Test == Absent
}

// equalDecoded says whether raw, decoded, is equal to want.
func equalDecoded(raw, want string) bool {
	if len(raw) < len(want) {
		return false
	}
	n := 0
	for i := 0; i < len(raw); n++ {
		c, width := decodeAt(raw, i)
		if n == len(want) || want[n] != c {
			return false
		}
		i += width
	}
	return n == len(want)
}

// decodeAt returns the byte that raw has at i, and how many bytes spell it.
func decodeAt(raw string, i int) (c byte, width int) {
	switch c = raw[i]; c {
	case '+':
		return ' ', 1
	case '%':
		if i+2 < len(raw) {
			high, low := unhex(raw[i+1]), unhex(raw[i+2])
			if high < 16 && low < 16 {
				return high<<4 | low, 3
			}
		}
	}
	return c, 1
}

func decode(raw string) string {
	if strings.IndexByte(raw, '%') < 0 && strings.IndexByte(raw, '+') < 0 {
		return raw
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		c, width := decodeAt(raw, i)
		out = append(out, c)
		i += width
	}
	return string(out)
}
