package policytest

import (
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/unit"
)

// written is the part of a configuration that policies can be tried with.
type written struct {
	Consumers []writtenConsumer       `yaml:"consumers"`
	Policies  []unit.Map[config.Node] `yaml:"policies"`
}

type writtenConsumer struct {
	Name        string                  `yaml:"name" required:"true"`
	Groups      []string                `yaml:"groups"`
	Credentials []unit.Map[config.Node] `yaml:"credentials"`
}

// document is a configuration that has been read.
type document struct {
	consumers []*message.Consumer
	owned     []unit.Map[config.Node] // credentials
	owners    []*message.Consumer
	policies  []placed
}

// placed is one policy of the list.
type placed struct {
	kind     string
	settings *config.Node
	onFault  *policy.OnFault
}

func parse(file, text string) (*document, error) {
	node, err := config.ParseNode(file, []byte(text))
	if err != nil {
		return nil, err
	}
	var w written
	if err := node.Decode(&w); err != nil {
		return nil, err
	}
	d := &document{}
	for _, c := range w.Consumers {
		consumer := &message.Consumer{Name: c.Name, Groups: c.Groups, GroupList: strings.Join(c.Groups, ",")}
		d.consumers = append(d.consumers, consumer)
		for _, credential := range c.Credentials {
			d.owned = append(d.owned, credential)
			d.owners = append(d.owners, consumer)
		}
	}
	for _, entry := range w.Policies {
		p, err := onePolicy(entry)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		d.policies = append(d.policies, p)
	}
	return d, nil
}

func onePolicy(entry unit.Map[config.Node]) (placed, error) {
	var p placed
	for _, e := range entry {
		if e.Key != "on_fault" {
			if p.kind != "" {
				return p, fmt.Errorf("policies: %s and %s stand in one item: begin each with a \"-\"", p.kind, e.Key)
			}
			p.kind, p.settings = e.Key, &e.Value
			continue
		}
		var word string
		if err := e.Value.Decode(&word); err != nil {
			return p, err
		}
		choice := policy.FaultDeny
		if word == "allow" {
			choice = policy.FaultAllow
		} else if word != "deny" {
			return p, fmt.Errorf("on_fault is allow or deny, not %q", word)
		}
		p.onFault = &choice
	}
	if p.kind == "" {
		return p, fmt.Errorf("an item of policies names no kind")
	}
	return p, nil
}

// credentials implements policy.Env.Credentials.
func (d *document) credentials(kind string) []policy.CredentialOf {
	var list []policy.CredentialOf
	for i, credential := range d.owned {
		if settings, ok := credential.Lookup(kind); ok {
			list = append(list, policy.CredentialOf{Consumer: d.owners[i], Settings: &settings})
		}
	}
	return list
}
