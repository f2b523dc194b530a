package scripts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/test/rig"
)

// peer is a connection and what is known of it.
type peer struct {
	rig.Peer
	wire    rig.Wire
	message *rig.Message // the last that was read
	gone    bool
}

// stepPeer plays the steps of one connection, whoever's it is.
func (p *play) stepPeer(c *peer, step Step) error {
	if len(step.Words) < 2 {
		return errors.New("what should it do?")
	}
	rest := step.Words[2:]
	switch step.Words[1] {
	case "sends", "receives", "flushes", "half-closes":
		return c.stepBytes(step.Words[1], step.Block)
	case "asks", "answers", "begins", "adds", "ends", "floods":
		return c.stepSend(step.Words[1], rest, step.Block)
	case "gets":
		return c.gets(rest, step.Block)
	case "trailers":
		if c.message == nil {
			return errors.New("no message was read yet")
		}
		return checkFields(step.Block, c.message.Trailers)
	case "discards":
		n, err := number(rest[0])
		if err != nil {
			return err
		}
		return c.Skip(n)
	case "is":
		return c.is(rest)
	case "cancels":
		c.gone = c.Bytes() != nil
		return c.Cancel()
	case "closes":
		c.gone = true
		return c.Close()
	case "resets":
		c.gone = true
		return c.Reset()
	}
	return fmt.Errorf("nobody knows how to %q", step.Words[1])
}

// stepBytes plays what only a wire of plain bytes can do.
func (c *peer) stepBytes(verb string, block []string) error {
	raw := c.Bytes()
	if raw == nil {
		return fmt.Errorf("HTTP/%s has no bytes to be spelled: say it as messages, or begin the step with [http1], or say \"wires: http1 # why\"", c.wire.Version)
	}
	switch verb {
	case "flushes":
		return raw.Drain()
	case "half-closes":
		return raw.CloseWrite()
	}
	data, err := rig.Lines(block)
	if err != nil {
		return err
	}
	if verb == "receives" {
		return raw.Receive(data)
	}
	raw.Send(data)
	return nil
}

// stepSend plays the sending of messages, whole or in parts.
func (c *peer) stepSend(verb string, words, block []string) error {
	switch verb {
	case "floods":
		n, err := number(words[0])
		c.Flood(n)
		return err
	case "adds":
		data, err := rig.Unescape(strings.Join(block, "\n"))
		if err != nil {
			return err
		}
		return c.Add(data)
	case "ends":
		trailers, err := fieldsOf(block)
		if err != nil {
			return err
		}
		return c.End(trailers)
	}
	head, body, err := message(words, block)
	if err != nil {
		return err
	}
	if verb != "begins" {
		return rig.Send(c.Peer, head, body)
	}
	if err := c.Begin(head, true); err != nil || body == "" {
		return err
	}
	return c.Add(body)
}

// is plays "is closed", "is cancelled", "is silent", "is stuck".
func (c *peer) is(words []string) error {
	switch strings.Join(words, " ") {
	case "closed":
		c.gone = true
		return c.Closed()
	case "cancelled":
		c.gone = c.Bytes() != nil
		return c.Cancelled()
	case "silent":
		return c.Silent()
	case "stuck":
		return c.Stuck()
	}
	return errors.New("is closed, is cancelled, is silent, or is stuck?")
}

// message makes a head and a body of "METHOD TARGET" or "STATUS" and a block: what
// is meant, not how a wire spells it. A request without a Host gets one.
func message(words, block []string) (h rig.Head, body string, err error) {
	head, body, _ := split(block)
	if body, err = rig.Unescape(body); err != nil {
		return h, "", err
	}
	if h.Fields, err = fieldsOf(head); err != nil {
		return h, "", err
	}
	switch len(words) {
	case 1:
		h.Status, err = strconv.Atoi(words[0])
		return h, body, err
	case 2:
		h.Method = words[0]
		if h.Target, err = rig.Unescape(words[1]); err != nil {
			return h, "", err
		}
		if rig.Values(h.Fields, "Host") == nil {
			h.Fields = append([]rig.Field{{Name: "Host", Value: "example.com"}}, h.Fields...)
		}
		return h, body, nil
	}
	return h, "", errors.New("write METHOD TARGET, or STATUS")
}

func fieldsOf(lines []string) ([]rig.Field, error) {
	var fields []rig.Field
	for _, line := range lines {
		line, err := rig.Unescape(line)
		if err != nil {
			return nil, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("not a field: %q", line)
		}
		fields = append(fields, rig.Field{Name: name, Value: strings.TrimSpace(value)})
	}
	return fields, nil
}

// gets reads a message and compares it: "gets 200", "gets GET /path", each with
// "head of" in front to leave the body unread, or "gets part" and "gets body" for
// what was left.
func (c *peer) gets(words, block []string) error {
	headOnly := len(words) > 2 && words[0] == "head" && words[1] == "of"
	if headOnly {
		words = words[2:]
	}
	if len(words) == 0 {
		return errors.New("gets what?")
	}
	switch words[0] {
	case "part":
		return c.getsPart(block)
	case "body":
		return c.getsBody(words[1:], block)
	}
	m, err := c.Head()
	if err != nil {
		return fmt.Errorf("wanted a message: %w", err)
	}
	c.message = m
	words, err = c.checkLine(words)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, m)
	}
	if !headOnly {
		if err := c.Body(m, slices.Contains(words, "bodyless")); err != nil {
			return err
		}
	}
	if err := checkMessage(m, c.meant(block), c.meantWords(words)); err != nil {
		return fmt.Errorf("%w\nthe whole message was:\n%s", err, m)
	}
	return nil
}

// meant drops what only HTTP/1 has from an expectation: that no such field comes
// over another wire is looked at wherever one is read.
func (c *peer) meant(block []string) []string {
	if c.Bytes() != nil {
		return block
	}
	head, _, _ := split(block)
	var kept []string
	for _, line := range head {
		name, _, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "connection", "keep-alive", "transfer-encoding":
		default:
			kept = append(kept, line)
		}
	}
	return append(kept, block[len(head):]...)
}

func (c *peer) meantWords(words []string) []string {
	if c.Bytes() != nil {
		return words
	}
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "framing=") })
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
	target, err := rig.Unescape(words[1])
	if err != nil {
		return nil, err
	}
	if want := words[0] + " " + target + " HTTP/" + c.wire.Version; c.message.Line != want {
		return nil, fmt.Errorf("wanted %q, got %q", want, c.message.Line)
	}
	return words[2:], nil
}

// getsPart reads as many bytes of the body as the block has.
func (c *peer) getsPart(block []string) error {
	want, err := rig.Unescape(strings.Join(block, "\n"))
	if err != nil {
		return err
	}
	got, err := c.Part(len(want))
	if got != want {
		return fmt.Errorf("wanted %s\n   got %s (%w)", rig.Quote(want), rig.Quote(got), err)
	}
	return nil
}

// getsBody reads what is left of the body.
func (c *peer) getsBody(words, block []string) error {
	if c.message == nil {
		return errors.New("there was no head before")
	}
	if err := c.Body(c.message, slices.Contains(words, "bodyless")); err != nil {
		return err
	}
	expect := block
	if len(block) > 0 {
		expect = append([]string{""}, block...)
	}
	return checkMessage(c.message, expect, c.meantWords(words))
}
