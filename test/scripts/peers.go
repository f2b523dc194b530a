package scripts

import (
	"errors"
	"fmt"
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
	c, err := p.variant.Client.Connect(to, from)
	if err != nil {
		return err
	}
	p.conns[name] = &peer{Peer: c, wire: p.variant.Client}
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
		head, body, err := message(step.Words[4:], step.Block)
		o.Reply(head, body)
		return err
	}
	if err := p.started(); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(verb, "accepts "):
		c, err := o.AcceptPeer()
		if err != nil {
			return err
		}
		p.conns[step.Words[2]] = &peer{Peer: c, wire: o.Wire}
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
