package listen

import (
	"slices"

	"github.com/sluice-gateway/sluice/listen/certificates"
)

// automatic returns the certificates that are had from an authority by a
// specification: those of before, or of another listener, where it is the same.
func (c *Change) automatic(spec *certificates.ACME) (*certificates.Automatic, error) {
	same := func(s served) bool { return s.spec.Same(spec) }
	if i := slices.IndexFunc(c.acme, same); i >= 0 {
		return c.acme[i].Automatic, nil
	}
	before := c.set.automatics()
	if i := slices.IndexFunc(before, same); i >= 0 {
		c.acme = append(c.acme, before[i])
		return before[i].Automatic, nil
	}
	a, err := certificates.OpenAutomatic(*spec, certificates.Env{Logger: c.set.logger})
	if err != nil {
		return nil, err
	}
	c.acme = append(c.acme, served{spec, a})
	return a, nil
}

// served is what was opened for a specification.
type served struct {
	spec *certificates.ACME
	*certificates.Automatic
}

func (s *Set) automatics() []served {
	if now := s.acme.Load(); now != nil {
		return *now
	}
	return nil
}

func (s *Set) eachAutomatic(do func(*certificates.Automatic)) {
	for _, a := range s.automatics() {
		do(a.Automatic)
	}
}

// adoptAutomatic puts the certificates of a change in force, and ends those that
// nobody wants any more. Connections that exist are not touched.
func (c *Change) adoptAutomatic() {
	before := c.set.automatics()
	c.set.acme.Store(&c.acme)
	for _, a := range before {
		if !slices.Contains(c.acme, a) {
			c.set.end(a.Automatic)
		}
	}
}

// dropAutomatic ends what was opened for a change that does not take place.
func (c *Change) dropAutomatic() {
	before := c.set.automatics()
	for _, a := range c.acme {
		if !slices.Contains(before, a) {
			c.set.end(a.Automatic)
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
