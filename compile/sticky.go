package compile

import (
	"crypto/rand"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/upstream"
	"github.com/sluice-gateway/sluice/upstream/sticky"
)

var secureCookies = map[string]upstream.SecureCookie{
	"auto": upstream.SecureAuto, "always": upstream.SecureAlways, "never": upstream.SecureNever,
}

// sticky says how clients stay with endpoints; nil where they do not.
func (b *build) sticky(u *config.Upstream) *upstream.Sticky {
	c := &u.Balance
	if c.Method != "sticky" {
		return nil
	}
	name := u.Name.Value
	s := &upstream.Sticky{
		Cookie:     c.CookieOf(name),
		Attributes: sticky.Attributes{Path: c.Path, Age: c.TTL.Std(), SameSite: c.SameSite},
		Secure:     secureCookies[c.Secure],
	}
	for _, secret := range c.Secret {
		s.Keys = append(s.Keys, sticky.DeriveKey([]byte(secret.Reveal()), name))
	}
	if len(s.Keys) == 0 {
		s.Keys = []sticky.Key{sticky.DeriveKey(b.compiler.chance[:], name)}
	}
	return s
}

// warnSticky tells that cookies without a secret are good for one process only.
func (b *build) warnSticky(item config.Item[config.Upstream]) {
	c := &item.Value.Balance
	if c.Method == "sticky" && len(c.Secret) == 0 {
		b.result.Warnings = append(b.result.Warnings, item.Problem(item.Value.Name.Mark,
			"balance: without a secret the cookies of sticky mean nothing to another gateway, nor to this one after a restart: add secret: ${env:NAME}"))
	}
}

// drawChance makes the secret that lasts as long as the compiler.
func drawChance() (chance [32]byte) {
	_, _ = rand.Read(chance[:]) // It never fails.
	return chance
}
