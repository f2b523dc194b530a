package config

import (
	"bytes"
	"errors"

	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/unit"
)

// Endpoints reads a list of endpoints that stands in a file of its own, in YAML or
// JSON, written as in an upstream. The error is of the type Problems, with the
// file and the lines. References such as ${env:NAME} are no part of such a list: who
// writes it is often a program that may know less than the gateway.
func Endpoints(path string, text []byte) ([]traffic.Endpoint, error) {
	if at := bytes.Index(text, []byte("${")); at >= 0 {
		line, column := placeOf(string(text), at)
		src := &source{name: path, text: string(text)}
		return nil, Problems{place{src: src}.problem(line, column, "references cannot stand in a file of endpoints")}
	}
	n, err := ParseNode(path, text)
	if err != nil {
		return nil, err
	}
	if n.Kind() == unit.Null {
		return nil, n.Locate(errors.New("there is no list here: write [] for one without endpoints"))
	}
	var list []traffic.Endpoint
	if err := n.Decode(&list); err != nil {
		return nil, err
	}
	return list, nil
}

// ValidateKeys is called by the decoder.
func (*Upstream) ValidateKeys(keys func(under string) []string) error { return traffic.CheckKeys(keys) }

// checkSource says what is wrong with where an upstream has its endpoints from.
func (u *Upstream) checkSource() error {
	d := u.Discovery
	switch {
	case len(u.Members) > 0:
		return traffic.CheckMembers(len(u.Members), func(i int) (string, *traffic.Member) { return u.Members[i].Upstream.Value, &u.Members[i].Member })
	case d == nil && len(u.Endpoints) == 0:
		return errors.New(`"endpoints" is missing here, or discovery: who tells them; or members`)
	case d != nil && len(u.Endpoints) > 0:
		return unit.At("discovery", errors.New("an upstream has either endpoints or discovery"))
	case d == nil || d.DNS == nil || d.DNS.Type != "srv" || d.Scheme != "https":
		return nil
	}
	if t := &u.TLS; t.ServerName == "" && len(t.Names) == 0 && !t.InsecureSkipVerify {
		return unit.At("discovery", errors.New("SRV records lead to addresses, for which nobody has certificates: say who must be there with tls: {server_name: …}"))
	}
	return nil
}
