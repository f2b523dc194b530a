package certificates

import (
	"crypto/tls"
	"slices"
	"strings"
)

// table finds certificates by name. It is never changed.
type table struct {
	exact    map[string][]*pair
	wild     map[string][]*pair // by what stands after "*."
	fallback []*pair            // for clients that name nobody, or somebody unknown
}

// newTable indexes pairs. Of those with the same name the one that most modern
// clients prefer comes first, else the one that was written first. name, in lower
// case, is whose certificates are the fallback; where it is "" those of the first pair are.
func newTable(pairs []*pair, name string) *table {
	t := &table{exact: map[string][]*pair{}, wild: map[string][]*pair{}}
	for _, p := range pairs {
		for _, n := range namesOf(p) {
			if suffix, ok := strings.CutPrefix(n, "*."); ok {
				t.wild[suffix] = insert(t.wild[suffix], p)
			} else {
				t.exact[n] = insert(t.exact[n], p)
			}
		}
	}
	if name != "" {
		t.fallback = t.find(name)
		return t
	}
	if len(pairs) == 0 {
		return t
	}
	t.fallback = pairs[:1]
	if names := namesOf(pairs[0]); len(names) > 0 {
		t.fallback = t.named(names[0])
	}
	return t
}

// named is the certificates in which a name is written just so.
func (t *table) named(name string) []*pair {
	if suffix, ok := strings.CutPrefix(name, "*."); ok {
		return t.wild[suffix]
	}
	return t.exact[name]
}

// namesOf lists the names of a certificate in lower case, once each.
func namesOf(p *pair) []string {
	var names []string
	for _, n := range p.leaf.DNSNames {
		if n = strings.TrimSuffix(strings.ToLower(n), "."); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// insert keeps a list in the order of algorithms. The list is not shared yet.
func insert(list []*pair, p *pair) []*pair {
	at := len(list)
	for at > 0 && list[at-1].algorithm.rank > p.algorithm.rank {
		at--
	}
	return slices.Insert(list, at, p)
}

// find returns the certificates for a name in lower case.
func (t *table) find(name string) []*pair {
	if found := t.exact[name]; found != nil {
		return found
	}
	return t.wildcard(name)
}

// wildcard returns the certificates for "*." and all but the first label of the
// name: a star stands for exactly one label (RFC 9525 §6.3).
func (t *table) wildcard(name string) []*pair {
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		return t.wild[name[dot+1:]]
	}
	return nil
}

// choose returns the first certificate that the client can use. Where there is
// none it is the first, and crypto/tls finds the alert that says why.
func choose(hello *tls.ClientHelloInfo, list []*pair) *tls.Certificate {
	if len(list) == 0 {
		return nil
	}
	for _, p := range list[:len(list)-1] {
		if p.algorithm.suits(hello) {
			return &p.certificate
		}
	}
	if last := list[len(list)-1]; len(list) == 1 || last.algorithm.suits(hello) {
		return &last.certificate
	}
	return &list[0].certificate
}
