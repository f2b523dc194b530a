package certificates

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Expiry is the day on which a certificate ends.
type Expiry struct {
	Source    string // its file, "self_signed", or the domain of an automatic one
	Names     []string
	NotBefore time.Time
	NotAfter  time.Time
	Managed   bool // it is renewed by the gateway
}

// Left is how long it is valid yet; negative is how long ago it has expired.
func (e Expiry) Left(now time.Time) time.Duration { return e.NotAfter.Sub(now) }

// Urgency says whether somebody has to do something.
type Urgency uint8

const (
	Calm Urgency = iota
	// Soon is within 30 days.
	Soon
	// Urgent is within 7 days, or too late.
	Urgent
)

// The thresholds of Soon and Urgent, for certificates that live long. Where the
// life is short they are a third and a twelfth of it; an automatic one is renewed
// when a third is left, so that it is late at a half of each.
const (
	soonLeft   = 30 * 24 * time.Hour
	urgentLeft = 7 * 24 * time.Hour
)

// Urgency of a certificate at a moment.
func (e Expiry) Urgency(now time.Time) Urgency {
	life := e.NotAfter.Sub(e.NotBefore)
	soon, urgent := min(soonLeft, life/3), min(urgentLeft, life/12)
	if e.Managed {
		soon, urgent = soon/2, urgent/2
	}
	switch left := e.Left(now); {
	case left <= urgent:
		return Urgent
	case left <= soon:
		return Soon
	}
	return Calm
}

// String is the warning, without its urgency.
func (e Expiry) String(now time.Time) string {
	verb, when := "expires in", e.Left(now)
	if when < 0 {
		verb, when = "has expired", -when
	}
	ago := ""
	if verb == "has expired" {
		ago = " ago"
	}
	return fmt.Sprintf("%s: the certificate for %s %s %s%s, on %s", e.Source, strings.Join(e.Names, ", "), verb, span(when), ago,
		e.NotAfter.UTC().Format(dateForm))
}

func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d minutes", d/time.Minute)
}

func expiries(pairs []*pair) []Expiry {
	var all []Expiry
	for _, p := range pairs {
		all = append(all, Expiry{p.source, p.leaf.DNSNames, p.leaf.NotBefore, p.leaf.NotAfter, p.managed})
	}
	return all
}

// Expiries lists the certificates of the store, without the automatic ones. It may
// be called on any goroutine.
func (s *Store) Expiries() []Expiry {
	if st := s.current.Load(); st != nil {
		return expiries(st.pairs())
	}
	return nil
}

// Measure emits, for metrics, each certificate's source and the seconds that it is
// valid yet. It may be called on any goroutine.
func (s *Store) Measure(emit func(source string, seconds float64)) {
	now := s.env.Now()
	for _, e := range s.Expiries() {
		emit(e.Source, e.Left(now).Seconds())
	}
}

// Check loads what a spec names and keeps nothing: for a configuration that is
// looked at but not applied. The warnings are about certificates that expire soon.
// Self-signed and automatic certificates are not made. What inUse, which may be nil, serves
// already is no error, as with its Prepare.
func Check(spec Spec, inUse *Store, now time.Time) (warnings []string, err error) {
	before := &state{}
	if inUse != nil {
		before = inUse.current.Load()
	}
	st, err := load(spec, before, now, true)
	if err != nil {
		return nil, err
	}
	for _, e := range expiries(st.pairs()) {
		if e.Urgency(now) != Calm {
			warnings = append(warnings, e.String(now))
		}
	}
	return warnings, nil
}

// calendar keeps warnings to one a day for each certificate.
type calendar struct {
	last map[string]time.Time
}

// log is called by one goroutine at a time.
func (c *calendar) log(logger *slog.Logger, all []Expiry, now time.Time) {
	last := map[string]time.Time{}
	for _, e := range all {
		urgency := e.Urgency(now)
		if urgency == Calm {
			continue
		}
		level, message := slog.LevelWarn, "certificate expires soon"
		if urgency == Urgent {
			level = slog.LevelError
		}
		if e.Left(now) < 0 {
			message = "certificate has expired"
		}
		key := message + e.Source + e.NotAfter.String()
		if before, ok := c.last[key]; ok && now.Sub(before) < 24*time.Hour {
			last[key] = before
			continue
		}
		last[key] = now
		logger.Log(context.Background(), level, message, "certificate", e.Source, "names", e.Names, "not_after", e.NotAfter, "left", span(max(0, e.Left(now))))
	}
	c.last = last
}
