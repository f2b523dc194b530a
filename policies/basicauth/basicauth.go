// Package basicauth finds out by a name and a password which consumer is calling.
//
// It is the Basic scheme of RFC 7617. Passwords are kept as bcrypt hashes only.
package basicauth

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy basic_auth.
var Kind = policy.Define("basic_auth", policy.Identify, files, build,
	policy.Credential[Credential](), policy.Problems(missing, invalid))

// The two refusals. The second does not say whether it was the name or the password.
var (
	missing = &message.Problem{Status: 401, Code: "basic_auth_missing", Title: "The request has no name and password", Source: message.SourceClient}
	invalid = &message.Problem{Status: 401, Code: "basic_auth_invalid", Title: "The name or the password is not valid", Source: message.SourceClient}
)

// user is one name. It is immutable.
type user struct {
	id       [sha256.Size]byte // of the name and the hash
	hash     []byte
	consumer *message.Consumer // nil: nobody, see directory.nobody
}

// directory finds users by name.
type directory struct {
	users map[string]*user
	// nobody is compared with where a name is not known, so that it takes as long
	// as where it is.
	nobody *user
}

// authenticator is one basic_auth policy.
type authenticator struct {
	directory *directory
	verifier  *verifier
	anonymous bool
	forward   bool
	challenge string
	room      policy.Local[login]
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	all, err := policy.Share(env, "basic_auth/directory", func() (*directory, error) { return newDirectory(env.Credentials("basic_auth")) })
	if err != nil {
		return policy.Hooks{}, err
	}
	// All policies of a snapshot share one, and so one bound on the work. It stays over
	// a reload as long as the first of them stands where it did.
	v, err := policy.Share(env, "basic_auth/verifier", func() (*verifier, error) {
		return policy.Keep(env, "verifier", func() (*verifier, error) { return newVerifier(), nil })
	})
	if err != nil {
		return policy.Hooks{}, fmt.Errorf("basicauth: %w", err)
	}
	env.Vouch(message.ConsumerNameHeader, message.ConsumerGroupsHeader)
	a := &authenticator{
		directory: all,
		verifier:  v,
		anonymous: c.Anonymous,
		forward:   c.Forward,
		challenge: challenge(c.Realm),
		room:      policy.NewLocal[login](env),
	}
	return policy.Hooks{OnRequest: a.onRequest}, nil
}

// challenge is the WWW-Authenticate field (RFC 7617 §2 and §2.1).
func challenge(realm string) string {
	return scheme + ` realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `", charset="UTF-8"`
}

func newDirectory(credentials []policy.CredentialOf) (*directory, error) {
	d := &directory{users: make(map[string]*user, len(credentials)), nobody: &user{hash: []byte(noHash)}}
	for i, of := range credentials {
		var c Credential
		if err := of.Settings.Decode(&c); err != nil {
			return nil, err
		}
		if other := d.users[c.Username]; other != nil {
			return nil, locate(of.Settings, fmt.Errorf("the consumers %s and %s have the same username %q: a name has one password", other.consumer.Name, of.Consumer.Name, c.Username))
		}
		hash := c.Password.hash
		d.users[c.Username] = &user{
			id:       sha256.Sum256([]byte(c.Username + ":" + hash)),
			hash:     []byte(hash),
			consumer: of.Consumer,
		}
		if i == 0 {
			// The cost of the first stands for all: they usually are the same.
			d.nobody.hash = []byte(hash[:shapeLength] + noHash[shapeLength:])
		}
	}
	return d, nil
}

// noHash is a bcrypt hash of which nobody knows a password: its digits were never
// made from one. The verifier accepts none for it in any case.
const noHash = "$2y$10$abcdefghijklmnopqrstuu0123456789ABCDEFGHIJKLMNOPQRSTU"

// locate puts an error where a credential stands, if that is known.
func locate(at policy.Decoder, err error) error {
	if node, ok := at.(interface{ Locate(error) error }); ok {
		return node.Locate(err)
	}
	return err
}

// onRequest allocates nothing for a password that was right before. A check of another
// one is slow and allocates what bcrypt needs, some 5 KiB.
func (a *authenticator) onRequest(x *message.Exchange) message.Verdict {
	l := a.room.At(x)
	switch l.read(&x.Request.Header) {
	case none:
		// Somebody whom an earlier policy has identified needs no password as well.
		if a.anonymous || x.Facts.Consumer != nil {
			return message.Next
		}
		return a.refuse(x, missing)
	case malformed:
		return a.refuse(x, invalid)
	}
	u := a.directory.users[string(l.name)]
	if u == nil {
		u = a.directory.nobody
	}
	right, err := a.verifier.check(u, l.password)
	if err != nil {
		return x.Fault(err)
	}
	if known := x.Facts.Consumer; !right || known != nil && known.Name != u.consumer.Name {
		return a.refuse(x, invalid)
	}
	if !a.forward {
		x.Request.Header.Del("Authorization")
	}
	x.Facts.Consumer = u.consumer
	x.Request.Header.Set(message.ConsumerNameHeader, u.consumer.Name)
	if u.consumer.GroupList != "" {
		x.Request.Header.Set(message.ConsumerGroupsHeader, u.consumer.GroupList)
	}
	return message.Next
}

func (a *authenticator) refuse(x *message.Exchange, p *message.Problem) message.Verdict {
	x.Response.Header.Append("WWW-Authenticate", a.challenge)
	return x.Deny(p)
}
