package listen

import (
	"fmt"

	"github.com/sluice-gateway/sluice/listen/certificates"
)

// automatic returns the certificates that are had from an authority by a
// specification: those of before, or of another listener, where it is the same.
func (c *Change) automatic(spec *certificates.ACME) (*certificates.Automatic, error) {
	key := fmt.Sprintf("%+v", *spec)
	if a, ok := c.acme[key]; ok {
		return a, nil
	}
	a, ok := c.set.automatics()[key]
	if !ok {
		var err error
		if a, err = certificates.OpenAutomatic(*spec, certificates.Env{Logger: c.set.logger}); err != nil {
			return nil, err
		}
	}
	if c.acme == nil {
		c.acme = map[string]*certificates.Automatic{}
	}
	c.acme[key] = a
	return a, nil
}

func (s *Set) automatics() map[string]*certificates.Automatic {
	if now := s.acme.Load(); now != nil {
		return *now
	}
	return nil
}

func (s *Set) eachAutomatic(do func(*certificates.Automatic)) {
	for _, a := range s.automatics() {
		do(a)
	}
}

// adoptAutomatic puts the certificates of a change in force, and ends those that
// nobody wants any more. Connections that exist are not touched.
func (c *Change) adoptAutomatic() {
	before := c.set.automatics()
	c.set.acme.Store(&c.acme)
	for key, a := range before {
		if c.acme[key] != a {
			c.set.end(a)
		}
	}
}

// dropAutomatic ends what was opened for a change that does not take place.
func (c *Change) dropAutomatic() {
	for key, a := range c.acme {
		if c.set.automatics()[key] != a {
			c.set.end(a)
		}
	}
}

func (s *Set) closeAutomatic() { s.eachAutomatic(s.end) }

func (s *Set) end(a *certificates.Automatic) {
	if err := a.Close(); err != nil {
		s.logger.Error("ending automatic certificates", "error", err)
	}
}

// Challenge answers what an authority asks over plain HTTP before it gives a
// certificate (RFC 8555 §8.3). It may be called on any goroutine.
func (s *Set) Challenge(host, path string) (answer string, ok bool) {
	if !certificates.IsChallengePath(path) {
		return "", false
	}
	for _, a := range s.automatics() {
		if answer, ok = a.Challenge(host, path); ok {
			return answer, true
		}
	}
	return "", false
}
