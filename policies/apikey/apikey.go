// Package apikey finds out by a key in the request which consumer is calling.
//
// Keys are kept as SHA-256 hashes only. A key has to be random and long, so a fast
// hash is enough, and looking up the hash of what a client sent tells nothing
// about other keys by the time that it takes: nobody can choose a hash.
package apikey

import (
	"crypto/sha256"
	"embed"
	"fmt"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy api_key.
var Kind = policy.Define("api_key", policy.Identify, files, build,
	policy.Credential[Credential](), policy.Problems(missing, invalid))

// The two refusals. They do not say which of several reasons it was: that helps
// those who guess, and nobody else.
var (
	missing = &message.Problem{Status: 401, Code: "api_key_missing", Title: "The request has no API key", Source: message.SourceClient}
	invalid = &message.Problem{Status: 401, Code: "api_key_invalid", Title: "The API key is not valid", Source: message.SourceClient}
)

// MaxKey is the length in bytes of the longest key that is looked at: hashing a
// longer one would be work that a stranger can ask for.
const MaxKey = 512

// index finds the consumer who has a key.
type index map[[sha256.Size]byte]*message.Consumer

// keys is one api_key policy.
type keys struct {
	places    []place
	index     index
	anonymous bool
	forward   bool
	challenge string
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	all, err := policy.Share(env, "api_key/index", func() (index, error) { return newIndex(env.Credentials("api_key")) })
	if err != nil {
		return policy.Hooks{}, err
	}
	env.Vouch(message.ConsumerNameHeader, message.ConsumerGroupsHeader)
	k := &keys{index: all, anonymous: c.Anonymous, forward: c.Forward}
	for i := range c.In {
		k.places = append(k.places, placeOf(&c.In[i]))
	}
	k.challenge = k.places[0].challenge()
	return policy.Hooks{OnRequest: k.onRequest}, nil
}

func newIndex(credentials []policy.CredentialOf) (index, error) {
	all := make(index, len(credentials))
	for _, of := range credentials {
		var c Credential
		if err := of.Settings.Decode(&c); err != nil {
			return nil, err
		}
		if other := all[c.hash]; other != nil {
			return nil, locate(of.Settings, twice(other.Name, of.Consumer.Name))
		}
		all[c.hash] = of.Consumer
	}
	return all, nil
}

func twice(a, b string) error {
	if a == b {
		return fmt.Errorf("the consumer %s has this key twice: remove one", a)
	}
	return fmt.Errorf("the consumers %s and %s have the same key: give each its own", a, b)
}

// locate puts an error where a credential stands, if that is known.
func locate(at policy.Decoder, err error) error {
	if node, ok := at.(interface{ Locate(error) error }); ok {
		return node.Locate(err)
	}
	return err
}

// onRequest allocates nothing, but for one string where a key is cut out of the middle of
// a query or of a cookie field.
func (k *keys) onRequest(x *message.Exchange) message.Verdict {
	consumer, given, ok := k.identify(&x.Request)
	if !ok {
		return k.refuse(x, invalid)
	}
	if !given {
		// Somebody whom an earlier policy has identified needs no key as well.
		if k.anonymous || x.Facts.Consumer != nil {
			return message.Next
		}
		return k.refuse(x, missing)
	}
	if known := x.Facts.Consumer; known != nil && known.Name != consumer.Name {
		return k.refuse(x, invalid)
	}
	x.Facts.Consumer = consumer
	x.Request.Header.Set(message.ConsumerNameHeader, consumer.Name)
	if consumer.GroupList != "" {
		x.Request.Header.Set(message.ConsumerGroupsHeader, consumer.GroupList)
	}
	return message.Next
}

// identify looks in all places. It is not ok if a key is given twice in one place, if
// keys in two places differ, or if nobody has the key.
func (k *keys) identify(r *message.Request) (consumer *message.Consumer, given, ok bool) {
	var hash [sha256.Size]byte
	for i := range k.places {
		p := &k.places[i]
		value, n := p.find(r)
		if n == 0 || n == 1 && value == "" {
			continue
		}
		if n > 1 {
			return nil, true, false
		}
		one, short := p.hash(value)
		if !short || given && one != hash {
			return nil, true, false
		}
		hash, given = one, true
		if !k.forward {
			p.remove(r)
		}
	}
	if !given {
		return nil, false, true
	}
	consumer = k.index[hash]
	return consumer, true, consumer != nil
}

func (k *keys) refuse(x *message.Exchange, p *message.Problem) message.Verdict {
	// RFC 9110 §15.5.2: a 401 has a challenge.
	x.Response.Header.Append("WWW-Authenticate", k.challenge)
	return x.Deny(p)
}
