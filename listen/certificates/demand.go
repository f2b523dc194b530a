package certificates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// OnDemand obtains certificates when clients come for names that the configuration
// does not have. A rule must permit them, Domains or Ask; where both are given, both must.
type OnDemand struct {
	// Domains are names, or *.NAME for all below one.
	Domains []string
	// Ask is the URL of a service of the user's: GET with the query domain=NAME, where 200
	// permits. Redirects are not followed.
	Ask string
	// Certificates is how many new ones are asked for in Per at most; 0 is no limit.
	// Those that the storage has, and renewals, do not count.
	Certificates int
	Per          time.Duration

	allow func(ctx context.Context, name string) error // for tests: in the place of Ask
}

func (o *OnDemand) same(other *OnDemand) bool {
	return slices.Equal(o.Domains, other.Domains) && o.Ask == other.Ask &&
		o.Certificates == other.Certificates && o.Per == other.Per && o.allow == nil && other.allow == nil
}

func (o *OnDemand) check() (errs []error) {
	if len(o.Domains) == 0 && o.Ask == "" && o.allow == nil {
		errs = append(errs, errors.New("acme: certificates on demand need a permission rule, ask or domains: "+
			"without one anybody can make this gateway ask for certificates for any name"))
	}
	if len(o.Domains) > maxDomains {
		errs = append(errs, fmt.Errorf("acme: on demand: %d domains are named; at most %d are", len(o.Domains), maxDomains))
	}
	for _, d := range o.Domains {
		errs = append(errs, checkPattern(d))
	}
	if o.Ask != "" {
		_, err := askURL(o.Ask)
		errs = append(errs, err)
	}
	if o.Certificates < 0 || o.Certificates > 0 && o.Per <= 0 {
		errs = append(errs, errors.New("acme: on demand: the number of certificates needs the time in which so many are asked for"))
	}
	return errs
}

// checkPattern finds what is wrong with a name or with *.NAME.
func checkPattern(pattern string) error {
	below, wild := strings.CutPrefix(pattern, "*.")
	if wild && !strings.Contains(below, ".") {
		return fmt.Errorf("acme: on demand: %q permits every name of a top-level domain: name a domain of yours, such as *.shops.example.com", pattern)
	}
	if strings.Contains(below, "*") {
		return fmt.Errorf("acme: on demand: %q has a * that does not stand at its beginning, before a dot", pattern)
	}
	return checkDomain(below)
}

const (
	// refusedFor is how long a refusal is remembered.
	refusedFor = time.Minute
	// maxRefused is how many names are remembered; then all are forgotten at once.
	maxRefused = 4096
	// askTimeout is for the whole call of Ask.
	askTimeout = 5 * time.Second
)

// askURL is the function that asks OnDemand.Ask.
func askURL(address string) (func(ctx context.Context, name string) error, error) {
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
	spec   OnDemand
	exact  map[string]bool
	below  []string // ".example.com": what the name has to end in
	ask    func(ctx context.Context, name string) error
	config *certmagic.Config
	slots  chan struct{} // one for each handshake that has to wait
	jobs   sync.WaitGroup

	mu      sync.Mutex
	refused map[string]time.Time // until when
	bucket  bucket
	closed  bool
}

// begin runs a job in the background, unless it is too late for one.
func (d *demand) begin(job func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.jobs.Go(job)
	}
	return !d.closed
}

// end lets no job begin any more, and waits for those that run.
func (d *demand) end() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.jobs.Wait()
}

func newDemand(spec OnDemand) (*demand, error) {
	d := &demand{
		spec: spec, exact: map[string]bool{}, ask: spec.allow,
		slots: make(chan struct{}, maxObtaining), refused: map[string]time.Time{},
		bucket: bucket{size: spec.Certificates, per: spec.Per, left: float64(spec.Certificates)},
	}
	for _, pattern := range spec.Domains {
		pattern = strings.ToLower(pattern)
		if below, wild := strings.CutPrefix(pattern, "*"); wild {
			d.below = append(d.below, below)
			continue
		}
		d.exact[pattern] = true
	}
	if spec.Ask == "" {
		return d, nil
	}
	var err error
	d.ask, err = askURL(spec.Ask)
	return d, err
}

// permits says whether the name is in Domains; without them every name is.
func (d *demand) permits(name string) bool {
	if len(d.spec.Domains) == 0 || d.exact[name] {
		return true
	}
	for _, below := range d.below {
		if len(name) > len(below) && strings.HasSuffix(name, below) {
			return true
		}
	}
	return false
}

// bucket counts the certificates that may yet be asked for; it is full after per.
type bucket struct {
	size int // 0 is no limit
	per  time.Duration
	left float64
	at   time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.size == 0 {
		return true
	}
	b.left = min(float64(b.size), b.left+now.Sub(b.at).Seconds()/b.per.Seconds()*float64(b.size))
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

var (
	errRefused = errors.New("certificates: the permission rule refuses this name")
	errTooMany = errors.New("certificates: too many new certificates were asked for on demand")
)

// decide is certmagic's DecisionFunc. It is asked before anything is obtained, renewed
// or read for a name.
func (d *demand) decide(ctx context.Context, name string) error {
	if d.denies(name) {
		return errRefused
	}
	var err error
	if d.ask != nil {
		err = d.ask(ctx, name)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && d.stored(ctx, name) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		if !d.bucket.take(time.Now()) {
			return errTooMany
		}
		return nil
	}
	if len(d.refused) >= maxRefused {
		clear(d.refused)
	}
	d.refused[name] = time.Now().Add(refusedFor)
	return err
}

// stored says whether there is a certificate for the name already, of whichever issuer.
func (d *demand) stored(ctx context.Context, name string) bool {
	if d.bucket.size == 0 {
		return true // Nobody counts.
	}
	for _, i := range d.config.Issuers {
		if d.config.Storage.Exists(ctx, certmagic.StorageKeys.SiteCert(i.IssuerKey(), name)) {
			return true
		}
	}
	return false
}

// denies says whether a name in lower case is not to be had, or was refused a moment ago.
func (d *demand) denies(name string) bool {
	if !d.permits(name) {
		return true
	}
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
	if !d.begin(func() {
		defer func() { <-d.slots }()
		c, err := d.config.GetCertificateWithContext(a.ctx, hello)
		if err != nil {
			c = nil
			a.env.Logger.Debug("no certificate on demand", "domain", name, "error", err)
		}
		found <- c
	}) {
		<-d.slots
		return nil
	}
	select {
	case c := <-found:
		return c
	case <-hello.Context().Done():
		return nil
	}
}
