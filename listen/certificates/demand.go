package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// OnDemand obtains certificates when clients come for names that the configuration
// does not have.
type OnDemand struct {
	// Allow is asked before anything is obtained, renewed or read for a name; an error
	// refuses. It must be there.
	Allow func(ctx context.Context, name string) error
}

const (
	// refusedFor is how long a refusal is remembered.
	refusedFor = time.Minute
	// maxRefused is how many names are remembered; then all are forgotten at once.
	maxRefused = 4096
	// askTimeout is for the whole call of AskURL.
	askTimeout = 5 * time.Second
)

// AskURL is an OnDemand.Allow that asks a service of the user's: GET with the query
// domain=NAME, where 200 allows. Redirects are not followed.
func AskURL(address string) (func(ctx context.Context, name string) error, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("acme: the address %q to ask for permission is not a http:// or https:// URL", address)
	}
	client := &http.Client{
		Timeout:       askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, name string) error {
		ask := *u
		query := ask.Query()
		query.Set("domain", name)
		ask.RawQuery = query.Encode()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, ask.String(), nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the answer was %d", answer.StatusCode)
		}
		return nil
	}, nil
}

// demand is the state of certificates on demand.
type demand struct {
	allow  func(ctx context.Context, name string) error
	config *certmagic.Config
	slots  chan struct{} // one for each handshake that has to wait
	jobs   sync.WaitGroup

	mu      sync.Mutex
	refused map[string]time.Time // until when
}

func newDemand(spec OnDemand) *demand {
	return &demand{allow: spec.Allow, slots: make(chan struct{}, maxObtaining), refused: map[string]time.Time{}}
}

var errRefused = errors.New("certificates: the permission rule refuses this name")

// decide is certmagic's DecisionFunc.
func (d *demand) decide(ctx context.Context, name string) error {
	if d.denies(name) {
		return errRefused
	}
	err := d.allow(ctx, name)
	if err == nil || ctx.Err() != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.refused) >= maxRefused {
		clear(d.refused)
	}
	d.refused[name] = time.Now().Add(refusedFor)
	return err
}

// denies says whether a name was refused a moment ago.
func (d *demand) denies(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.refused[name]
	if ok && time.Now().After(until) {
		delete(d.refused, name)
		return false
	}
	return ok
}

// demand finds or obtains the certificate for a handshake, or nil. A handshake that
// gives up does not stop the obtaining, so that the client's next try finds it.
func (a *Automatic) demand(hello *tls.ClientHelloInfo) *tls.Certificate {
	d := a.onDemand
	name := strings.ToLower(hello.ServerName)
	if d.denies(name) || checkDomain(name) != nil {
		return nil
	}
	if len(a.cache.AllMatchingCertificates(name)) > 0 {
		if c, err := d.config.GetCertificateWithContext(hello.Context(), hello); err == nil {
			return c
		}
		return nil
	}
	select {
	case d.slots <- struct{}{}:
	default:
		return nil // Too many are waiting: a flood of names must not fill the memory.
	}
	found := make(chan *tls.Certificate, 1)
	d.jobs.Go(func() {
		defer func() { <-d.slots }()
		c, err := d.config.GetCertificateWithContext(a.ctx, hello)
		if err != nil {
			c = nil
			a.env.Logger.Debug("no certificate on demand", "domain", name, "error", err)
		}
		found <- c
	})
	select {
	case c := <-found:
		return c
	case <-hello.Context().Done():
		return nil
	}
}
