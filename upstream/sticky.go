package upstream

import (
	"crypto/sha256"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/sticky"
)

// Sticky says how clients stay with the endpoint that has answered them. Balance chooses for
// those who have none, or whose endpoint cannot be asked.
type Sticky struct {
	Cookie     string // its name
	Attributes sticky.Attributes
	Secure     SecureCookie
	Keys       []sticky.Key // at least one; the first one signs, all are believed
}

// SecureCookie says which clients are told to send a cookie back over TLS only.
type SecureCookie uint8

const (
	SecureAuto   SecureCookie = iota // those that came over TLS
	SecureAlways                     // all
	SecureNever                      // none
)

// fingerprint tells the keys apart from others without showing them.
func (s *Sticky) fingerprint() [sha256.Size]byte {
	h := sha256.New()
	for i := range s.Keys {
		h.Write(s.Keys[i][:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// adhesive is what Sticky was made into.
type adhesive struct {
	cookie        string // its name
	plain, secure string // what stands behind the cookie's value
	signers       []*sticky.Signer
}

func newAdhesive(s *Sticky) *adhesive {
	a := &adhesive{cookie: s.Cookie}
	for i := range s.Keys {
		a.signers = append(a.signers, sticky.NewSigner(&s.Keys[i]))
	}
	a.plain, a.secure = s.Attributes.Text(s.Secure == SecureAlways), s.Attributes.Text(s.Secure != SecureNever)
	return a
}

// tokens are those of an endpoint, of all keys. It is called with the upstream's lock held, or before
// anybody else knows the upstream.
func (a *adhesive) tokens(address string) (all []sticky.Token) {
	if a == nil {
		return nil
	}
	all = make([]sticky.Token, len(a.signers))
	for i, s := range a.signers {
		all[i] = s.Token(address)
	}
	return all
}

// holder is the endpoint to which a token belongs.
type holder struct {
	endpoint *Endpoint
	current  bool // the token was signed with the first key
}

// tokenTable finds endpoints by their tokens; nil where clients do not stay.
func (a *adhesive) tokenTable(all []*Endpoint) *sticky.Table[holder] {
	if a == nil {
		return nil
	}
	table := sticky.NewTable[holder](len(all) * len(a.signers))
	for _, e := range all {
		for i, token := range e.tokens {
			table.Add(token, holder{e, i == 0})
		}
	}
	return table
}

// recall takes the cookie out of a request, which the origin has no use for, and returns the
// endpoint that it names. Whatever is wrong with a cookie, it is as if there was none. It does not
// allocate, but for a field with other cookies than this one, which is written anew.
func (u *Upstream) recall(req *message.Request) (wish holder) {
	if u.adhesive == nil {
		return wish
	}
	fields := req.Header.Fields()
	kept, named := 0, false
	for i := range fields {
		if len(fields[i].Name) == len("Cookie") && message.EqualFold(fields[i].Name, "Cookie") {
			rest, token, found, ok := sticky.Cut(fields[i].Value, u.adhesive.cookie)
			if ok && !named {
				wish, named = u.holder(token), true
			}
			if found && rest == "" {
				continue
			}
			fields[i].Value = rest
		}
		if kept != i {
			fields[kept] = fields[i]
		}
		kept++
	}
	if kept < len(fields) {
		req.Header.Truncate(kept)
	}
	return wish
}

// holder finds who is named by a token; the zero value where nobody is.
func (u *Upstream) holder(token sticky.Token) holder {
	h, _ := u.chosen.Load().tokens.Find(token)
	return h
}

// willing says whether a client that belongs to an endpoint may go on to it: it is well, or so
// few are that all are asked.
func (s *selection) willing(e *Endpoint) bool {
	switch {
	case e.gone.Load():
		return false
	case e.ill.Load() == 0:
		return true
	}
	for i := range s.levels {
		if s.levels[i].priority == e.priority {
			return s.levels[i].panicked
		}
	}
	return false
}

// stick gives the client the cookie of the endpoint that has answered, where it has not got
// that already. It allocates the text of the cookie.
func (u *Upstream) stick(x *message.Exchange, e *Endpoint, wish holder, resp *message.Response) {
	a := u.adhesive
	if a == nil || wish.endpoint == e && wish.current {
		return
	}
	attributes := a.plain
	if x.Request.Scheme == "https" {
		attributes = a.secure
	}
	resp.Header.Append("Set-Cookie", a.cookie+"="+e.tokens[0].String()+attributes)
}
