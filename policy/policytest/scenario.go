package policytest

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// step is one thing that a scenario does: a call, or something between calls.
type step struct {
	line    int
	call    *call
	advance time.Duration
	client  netip.Addr
	as      string
	reload  string
	release bool
}

// call is one request with what is expected of it.
type call struct {
	line           int
	method, target string
	fields         []string // names and values in turn
	params         []message.Param
	body           text

	origin  origin
	status  int // expected; 0: not said
	closed  bool
	nothing bool // the origin must not be asked
	expects []expect
}

// origin is what the origin answers one call.
type origin struct {
	status  int
	fields  []string
	body    text
	noBody  bool
	problem string
	hold    bool // it answers when it is told to
}

// text is a body that is written line by line.
type text struct {
	lines []string
	given bool
}

func (b *text) add(line string) { b.lines, b.given = append(b.lines, line), true }

func (b *text) String() string { return strings.Join(b.lines, "\n") }

// expect is one condition: where is "answer" or "origin".
type expect struct {
	line    int
	where   string
	what    string // "field", "body", "code", "target", "path", "query", "method", "host"
	name    string
	value   string
	pattern *regexp.Regexp
	absent  bool
}

// section is one file of a txtar archive.
type section struct {
	name, text string
	line       int // at which text begins
}

// sections splits a txtar archive; what stands before the first marker is a comment.
func sections(archive string) []section {
	var list []section
	for n, line := range strings.SplitAfter(archive, "\n") {
		mark := strings.TrimSpace(line)
		if strings.HasPrefix(mark, "-- ") && strings.HasSuffix(mark, " --") && len(mark) > 6 {
			list = append(list, section{name: mark[3 : len(mark)-3], line: n + 2})
			continue
		}
		if len(list) > 0 {
			list[len(list)-1].text += line
		}
	}
	return list
}

// parseCalls reads the calls of a scenario; first is the number of its first line.
func parseCalls(calls string, first int) ([]step, error) {
	var steps []step
	var current *call
	for n, line := range strings.Split(calls, "\n") {
		n += first
		line = strings.TrimRight(line, " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		sign, rest := line[0], strings.TrimSpace(line[1:])
		if len(line) < 3 || line[1] != ' ' {
			return nil, fmt.Errorf("line %d: %q: expected a sign, a space and some words", n, line)
		}
		var err error
		switch sign {
		case '>':
			if isCall(rest) {
				current = &call{line: n}
				current.method, current.target, _ = strings.Cut(rest, " ")
				steps = append(steps, step{line: n, call: current})
				continue
			}
			err = current.request(rest)
		case '~':
			err = current.answer(rest)
		case '<':
			err = current.expectAnswer(n, rest)
		case '=':
			err = current.expectOrigin(n, rest)
		default:
			var s step
			if s, err = between(sign, rest); err == nil {
				s.line, current = n, nil
				steps = append(steps, s)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n, line, err)
		}
	}
	return steps, complete(steps)
}

// complete refuses calls of which nothing is expected: such a scenario cannot fail.
func complete(steps []step) error {
	calls, holding := 0, 0
	for _, s := range steps {
		if s.release {
			holding = 0
		}
		if s.reload != "" && holding > 0 {
			return fmt.Errorf("line %d: a call is held: write \"* release\" before", s.line)
		}
		if s.call == nil {
			continue
		}
		if s.call.origin.hold {
			holding++
		}
		calls++
		if s.call.status == 0 && !s.call.closed {
			return fmt.Errorf("line %d: the call expects no status: add \"< 200\" or \"< closed\"", s.line)
		}
	}
	if holding > 0 {
		return fmt.Errorf("a call is held and never let go: add \"* release\"")
	}
	if calls == 0 {
		return fmt.Errorf("there is no call")
	}
	return nil
}

// isCall tells "GET /path" from "name: value".
func isCall(s string) bool {
	method, target, ok := strings.Cut(s, " ")
	if !ok || !message.ValidName(method) || message.LowerASCII(method) == method {
		return false
	}
	return target == "*" || strings.HasPrefix(target, "/") || strings.Contains(target, "://")
}

var errNoCall = fmt.Errorf("it belongs to a call, and there is none above it")

func (c *call) request(s string) error {
	if c == nil {
		return errNoCall
	}
	if is, err := c.body.line(s); is || err != nil {
		return err
	}
	name, value, ok := strings.Cut(s, ":")
	value = strings.TrimSpace(value)
	if strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
		c.params = append(c.params, message.Param{Name: name[1 : len(name)-1], Value: value})
		return nil
	}
	if !ok || !message.ValidName(name) {
		return fmt.Errorf("expected METHOD /path, name: value, or body text")
	}
	c.fields = append(c.fields, name, value)
	return nil
}

// line adds s to the body if it is "body text" or "body*N text".
func (b *text) line(s string) (bool, error) {
	word, rest, _ := strings.Cut(s, " ")
	if word == "body" {
		b.add(rest)
		return true, nil
	}
	count, ok := strings.CutPrefix(word, "body*")
	if !ok {
		return false, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1<<20 {
		return false, fmt.Errorf("%q: the number of lines is from 1 to 1048576", count)
	}
	for range n {
		b.add(rest)
	}
	return true, nil
}

func (c *call) answer(s string) error {
	if c == nil {
		return errNoCall
	}
	if is, err := c.origin.body.line(s); is || err != nil {
		return err
	}
	if status, err := strconv.Atoi(s); err == nil && status >= 100 && status <= 999 {
		c.origin.status = status
		return nil
	}
	if s == "!body" {
		c.origin.noBody = true
		return nil
	}
	if s == "hold" {
		c.origin.hold = true
		return nil
	}
	if code, ok := strings.CutPrefix(s, "problem "); ok {
		c.origin.problem = code
		if problemOf(code) == nil {
			return fmt.Errorf("message.Problems has no code %q", code)
		}
		return nil
	}
	name, value, ok := strings.Cut(s, ":")
	if !ok || !message.ValidName(name) {
		return fmt.Errorf("expected a status, name: value, body text, !body, hold, or problem code")
	}
	c.origin.fields = append(c.origin.fields, name, strings.TrimSpace(value))
	return nil
}

// problemOf finds a problem of the gateway itself by its code, or nil.
func problemOf(code string) *message.Problem {
	for _, p := range message.Problems() {
		if p.Code == code {
			return p
		}
	}
	return nil
}

func (c *call) expectAnswer(n int, s string) error {
	if c == nil {
		return errNoCall
	}
	if status, err := strconv.Atoi(s); err == nil {
		if c.status != 0 || status < 100 || status > 999 {
			return fmt.Errorf("expected one status from 100 to 999")
		}
		c.status = status
		return nil
	}
	if s == "closed" {
		c.closed = true
		return nil
	}
	if code, ok := strings.CutPrefix(s, "code "); ok {
		c.expects = append(c.expects, expect{line: n, where: "answer", what: "code", value: code})
		return nil
	}
	return c.expect(n, "answer", s)
}

func (c *call) expectOrigin(n int, s string) error {
	if c == nil {
		return errNoCall
	}
	if s == "nothing" {
		c.nothing = true
		return nil
	}
	if isCall(s) {
		method, target, _ := strings.Cut(s, " ")
		c.expects = append(c.expects,
			expect{line: n, where: "origin", what: "method", value: method},
			expect{line: n, where: "origin", what: "target", value: target})
		return nil
	}
	word, rest, _ := strings.Cut(s, " ")
	switch word {
	case "path", "query", "method", "host", "target":
		c.expects = append(c.expects, expect{line: n, where: "origin", what: word, value: strings.TrimSpace(rest)})
		return nil
	}
	return c.expect(n, "origin", s)
}

// expect reads what answers and requests have in common: fields and bodies.
func (c *call) expect(n int, where, s string) error {
	e := expect{line: n, where: where, what: "field"}
	word, rest, _ := strings.Cut(s, " ")
	switch {
	case strings.HasPrefix(s, "!"):
		e.absent, e.name = true, s[1:]
	case strings.HasPrefix(rest, "~ "):
		pattern, err := regexp.Compile(strings.TrimSpace(rest[2:]))
		if err != nil {
			return err
		}
		e.name, e.pattern = word, pattern
	case word == "body" || strings.HasPrefix(word, "body*"):
		return c.expectBody(n, where, s)
	default:
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("expected name: value, name ~ regexp, !name, or body text")
		}
		e.name, e.value = name, strings.TrimSpace(value)
	}
	if !message.ValidName(e.name) {
		return fmt.Errorf("%q is no name of a field", e.name)
	}
	if e.name == "body" {
		e.what = "body"
	}
	c.expects = append(c.expects, e)
	return nil
}

// expectBody adds a line to the body that is expected.
func (c *call) expectBody(n int, where, s string) error {
	var b text
	if _, err := b.line(s); err != nil {
		return err
	}
	for i := range c.expects {
		if e := &c.expects[i]; e.where == where && e.what == "body" && e.pattern == nil && !e.absent {
			e.value += "\n" + b.String()
			return nil
		}
	}
	c.expects = append(c.expects, expect{line: n, where: where, what: "body", value: b.String()})
	return nil
}

// between reads what stands between calls.
func between(sign byte, s string) (step, error) {
	switch sign {
	case '+':
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return step{}, fmt.Errorf("expected a time such as 30s")
		}
		return step{advance: d}, nil
	case '@':
		address, as, _ := strings.Cut(s, " as ")
		ip, err := netip.ParseAddr(address)
		return step{client: ip, as: strings.TrimSpace(as)}, err
	case '*':
		word, file, _ := strings.Cut(s, " ")
		if s == "release" {
			return step{release: true}, nil
		}
		if word != "reload" {
			return step{}, fmt.Errorf("expected reload or release")
		}
		if file == "" {
			file = "config.yaml"
		}
		return step{reload: file}, nil
	}
	return step{}, fmt.Errorf("a line begins with one of > ~ < = + @ * #")
}
