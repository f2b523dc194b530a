package scripts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/test/rig"
)

// stepClient plays a client's step; a client connects to $WEB by itself.
func (p *play) stepClient(name string, step Step) error {
	if len(step.Words) < 2 {
		return errors.New("what should the client do?")
	}
	if step.Words[1] == "connects" {
		return p.connect(name, step.Words[2:])
	}
	if p.conns[name] == nil {
		if err := p.connect(name, nil); err != nil {
			return err
		}
	}
	return p.stepPeer(p.conns[name], step)
}

// connect plays "client connects [to ADDRESS] [from ADDRESS]".
func (p *play) connect(name string, words []string) error {
	to, from := p.names["WEB"], ""
	for i := 0; i+1 < len(words); i += 2 {
		switch words[i] {
		case "to":
			to = words[i+1]
		case "from":
			from = words[i+1]
		default:
			return fmt.Errorf("unknown word %q", words[i])
		}
	}
	if old := p.conns[name]; old != nil {
		old.Drop()
	}
	c, err := rig.Dial(to, from)
	if err != nil {
		return err
	}
	p.conns[name] = &peer{Conn: c}
	return nil
}

// stepOrigin plays the steps whose subject is an origin, not one of its connections.
func (p *play) stepOrigin(o *rig.Origin, step Step) error {
	verb := strings.Join(step.Words[1:], " ")
	switch {
	case verb == "is down":
		return o.Down()
	case verb == "is up":
		return o.Up()
	case verb == "says nothing":
		return o.Unexpected()
	case strings.HasPrefix(verb, "answers every request "):
		answer, err := compose(step.Words[4], step.Block)
		o.Answer(answer)
		return err
	}
	if err := p.started(); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(verb, "accepts "):
		c, err := o.Accept()
		if err != nil {
			return err
		}
		p.conns[step.Words[2]] = &peer{Conn: c}
		return nil
	case strings.HasPrefix(verb, "answered "), strings.HasPrefix(verb, "accepted "):
		want, err := number(step.Words[2])
		if err != nil {
			return err
		}
		count := o.Requests
		if step.Words[1] == "accepted" {
			count = o.Accepted
		}
		return rig.Eventually(func() error {
			if got := count(); got != want {
				return fmt.Errorf("wanted %d, got %d", want, got)
			}
			return nil
		})
	}
	return errors.New("what should the origin do?")
}

// stepPeer plays the steps of one connection, whoever's it is.
func (p *play) stepPeer(c *peer, step Step) error {
	if len(step.Words) < 2 {
		return errors.New("what should it do?")
	}
	rest := step.Words[2:]
	switch step.Words[1] {
	case "sends":
		data, err := rig.Lines(step.Block)
		if err == nil {
			c.Send(data)
		}
		return err
	case "flushes":
		return c.Drain()
	case "receives":
		data, err := rig.Lines(step.Block)
		if err != nil {
			return err
		}
		return c.Receive(data)
	case "asks":
		return c.ask(rest, step.Block)
	case "answers":
		answer, err := compose(rest[0], step.Block)
		c.Send(answer)
		return err
	case "gets":
		return c.gets(rest, step.Block)
	case "trailers":
		if c.message == nil {
			return errors.New("no message was read yet")
		}
		return checkFields(step.Block, c.message.Trailers)
	case "floods":
		n, err := number(rest[0])
		c.Flood(n)
		return err
	case "discards":
		n, err := number(rest[0])
		if err != nil {
			return err
		}
		return c.Discard(n)
	case "is":
		return c.is(rest)
	case "half-closes":
		return c.CloseWrite()
	case "closes":
		c.gone = true
		return c.Close()
	case "resets":
		c.gone = true
		return c.Reset()
	}
	return fmt.Errorf("nobody knows how to %q", step.Words[1])
}

// is plays "is closed", "is silent", "is stuck".
func (c *peer) is(words []string) error {
	switch strings.Join(words, " ") {
	case "closed":
		c.gone = true
		return c.Closed()
	case "silent":
		return c.Silent()
	case "stuck":
		return c.Stuck()
	}
	return errors.New("is closed, is silent, or is stuck?")
}

// ask sends a whole request: what a client means, not how a wire spells it. Host
// and the length of a body are added where the block has none.
func (c *peer) ask(words, block []string) error {
	if len(words) != 2 {
		return errors.New("write: asks METHOD TARGET")
	}
	head, body, hasBody := split(block)
	body, err := rig.Unescape(body)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", words[0], words[1])
	if !has(head, "host") {
		b.WriteString("Host: example.com\r\n")
	}
	for _, line := range head {
		text, err := rig.Unescape(line)
		if err != nil {
			return err
		}
		b.WriteString(text + "\r\n")
	}
	if hasBody && !has(head, "content-length") && !has(head, "transfer-encoding") {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	c.asked = append(c.asked, words[0])
	c.Send(b.String() + "\r\n" + body)
	return nil
}

func has(lines []string, name string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		n, _, _ := strings.Cut(line, ":")
		return strings.EqualFold(n, name)
	})
}

// compose makes an answer; a length is added where the block has none.
func compose(status string, block []string) (string, error) {
	head, body, _ := split(block)
	body, err := rig.Unescape(body)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("HTTP/1.1 " + status + " Fine\r\n")
	for _, line := range head {
		text, err := rig.Unescape(line)
		if err != nil {
			return "", err
		}
		b.WriteString(text + "\r\n")
	}
	bodyless := status[0] == '1' || status == "204" || status == "304"
	if !bodyless && !has(head, "content-length") && !has(head, "transfer-encoding") && !has(head, "connection") {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	return b.String() + "\r\n" + body, nil
}

// gets reads a message and compares it: "gets 200", "gets GET /path", each with
// "head of" in front to leave the body unread, or "gets body".
func (c *peer) gets(words, block []string) error {
	headOnly := len(words) > 2 && words[0] == "head" && words[1] == "of"
	if headOnly {
		words = words[2:]
	}
	if len(words) == 0 {
		return errors.New("gets what?")
	}
	if words[0] == "body" {
		return c.getsBody(words[1:], block)
	}
	r, err := c.Reader()
	if err != nil {
		return err
	}
	c.message, err = rig.ReadHead(r)
	if err != nil {
		return fmt.Errorf("wanted a message: %w", err)
	}
	words, err = c.checkLine(words)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.message)
	}
	if !headOnly {
		if err := c.message.ReadBody(r, c.bodyless(words)); err != nil {
			return err
		}
	}
	if err := checkMessage(c.message, block, words); err != nil {
		return fmt.Errorf("%w\nthe whole message was:\n%s", err, c.message)
	}
	return nil
}

// checkLine compares the start line and returns the words behind it.
func (c *peer) checkLine(words []string) ([]string, error) {
	if status := c.message.Status(); status != 0 {
		want, err := strconv.Atoi(words[0])
		if err != nil || want != status {
			return nil, fmt.Errorf("wanted %s, got %d", words[0], status)
		}
		return words[1:], nil
	}
	if len(words) < 2 {
		return nil, errors.New("write: gets METHOD TARGET")
	}
	if want := words[0] + " " + words[1] + " HTTP/1.1"; c.message.Line != want {
		return nil, fmt.Errorf("wanted %q, got %q", want, c.message.Line)
	}
	return words[2:], nil
}

// bodyless says whether the answer at hand has no body because of what was asked.
func (c *peer) bodyless(words []string) bool {
	method := ""
	if status := c.message.Status(); status >= 200 && len(c.asked) > 0 {
		method = c.asked[0]
		c.asked = c.asked[1:]
	}
	return method == "HEAD" || slices.Contains(words, "bodyless")
}

func (c *peer) getsBody(words, block []string) error {
	if c.message == nil {
		return errors.New("there was no head before")
	}
	r, err := c.Reader()
	if err != nil {
		return err
	}
	if err := c.message.ReadBody(r, c.bodyless(words)); err != nil {
		return err
	}
	expect := block
	if len(block) > 0 {
		expect = append([]string{""}, block...)
	}
	return checkMessage(c.message, expect, words)
}
