package traffic

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/nearest"
	"github.com/sluice-gateway/sluice/unit"
)

// Balance says how an endpoint is chosen, as a word or as a mapping.
type Balance struct {
	Method string      `required:"true" enum:"round_robin,least_request,random,peak_ewma,consistent_hash,sticky" doc:"In turn, the less busy of two at random, at random, of two at random the one that would answer sooner, the same key to the same endpoint, or the same client to the same endpoint, by a cookie; all by weight."`
	Key    string      `default:"{client.address}" max:"1024" doc:"With consistent_hash: what requests that go to the same endpoint have in common, as a template, such as {request.header.x-user}. Where it is empty any endpoint is asked."`
	Table  string      `enum:"maglev,ring" default:"maglev" doc:"With consistent_hash: maglev is quicker and more even; with a ring no key moves that need not, when endpoints come and go."`
	Bound  unit.Factor `default:"1.25x" doc:"With consistent_hash: how many times its share of the requests under way an endpoint gets at most; what is more goes to the next one. 0x: as much as comes."`

	First    string                 `enum:"round_robin,least_request,random,peak_ewma,consistent_hash" default:"least_request" doc:"With sticky: how the endpoint of a client is chosen that has none, or whose endpoint cannot be asked."`
	Cookie   string                 `pattern:"^[A-Za-z0-9!#$%&'*+.^_|~-]{0,128}$" form:"the name of a cookie: letters, digits and !#$%&'*+.^_|~-, at most 128 long" doc:"With sticky: the name of the cookie; absent: sluice_ and the name of the upstream."`
	TTL      unit.Duration          `yaml:"ttl" default:"0s" max:"400d" doc:"With sticky: how long the client keeps the cookie; 0s: until it is closed."`
	Path     string                 `default:"/" pattern:"^/[!-:<-~]*$" form:"a path that begins with a slash and has no spaces and no semicolons" doc:"With sticky: the path of the cookie. Clients send it with this path and those below."`
	Secure   string                 `enum:"auto,always,never" default:"auto" doc:"With sticky: whether clients are told to send the cookie back over TLS only: those that came over TLS, all, or none."`
	SameSite string                 `enum:"lax,strict,none" default:"lax" doc:"With sticky: whether clients send the cookie with requests that other sites make."`
	Secret   unit.List[unit.Secret] `max:"8" doc:"With sticky: what cookies are signed with, at least 16 characters, the same at all gateways. Of several the first one signs and all are believed, so that it can be changed. Absent: a key for as long as the gateway runs."`
}

var methods = []string{"round_robin", "least_request", "random", "peak_ewma", "consistent_hash", "sticky"}

// minSecret is the length of the shortest secret, in bytes.
const minSecret = 16

func meant(word string) string {
	if near := nearest.Word(word, methods); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// Validate is called by the decoder.
func (b *Balance) Validate() error {
	if f := b.Bound.Float(); f != 0 && f <= 1 {
		return unit.Problem("bound", "with no more than its share no endpoint has room for chance: give more than 1x, such as 1.25x, or 0x for no bound")
	}
	if b.Key == "" && b.Chooses() == "consistent_hash" {
		return unit.Problem("key", "without a key nobody belongs to an endpoint: give one, such as {request.header.x-user}, or leave it out for the client's address")
	}
	return b.validateCookie()
}

// ValidateKeys is called by the decoder. It looks for what the method has no use for: whoever writes it
// expects something of it.
func (b *Balance) ValidateKeys(keys func(under string) []string) error {
	var errs []error
	for _, key := range keys("") {
		belongs, fits := "sticky", b.Method == "sticky"
		switch key {
		case "method":
			fits = true
		case "key", "table", "bound":
			belongs, fits = "consistent_hash", b.Chooses() == "consistent_hash"
		}
		if !fits {
			errs = append(errs, unit.At(key, fmt.Errorf("this belongs to %s, and %s makes nothing of it: leave it out", belongs, b.Chooses())))
		}
	}
	return errors.Join(errs...)
}

// validateCookie checks what makes clients refuse a cookie, and what makes it worth nothing.
func (b *Balance) validateCookie() error {
	for i, s := range b.Secret {
		if len(s.Reveal()) < minSecret {
			return unit.Problem(fmt.Sprintf("secret[%d]", i), fmt.Sprintf("a secret of less than %d characters can be guessed: make one with openssl rand -base64 32, say", minSecret))
		}
	}
	switch {
	case b.TTL != 0 && b.TTL.Std() < time.Second:
		return unit.Problem("ttl", "the age of a cookie is counted in seconds: give 1s or more, or 0s for as long as the client is open")
	case b.SameSite == "none" && b.Secure != "always":
		return unit.Problem("same_site", "clients take a cookie with same_site: none only if it is for TLS only: write secure: always")
	case b.Secure != "always" && (strings.HasPrefix(b.Cookie, "__Secure-") || strings.HasPrefix(b.Cookie, "__Host-")):
		return unit.Problem("cookie", "clients take a cookie with this name only if it is for TLS only: write secure: always")
	case b.Path != "/" && strings.HasPrefix(b.Cookie, "__Host-"):
		return unit.Problem("path", "clients take a cookie whose name begins with __Host- only if its path is /")
	}
	return nil
}

// Chooses is the method by which an endpoint is chosen, where no cookie names one.
func (b *Balance) Chooses() string {
	if b.Method == "sticky" {
		return b.First
	}
	return b.Method
}

// CookieOf is the name of the cookie of an upstream.
func (b *Balance) CookieOf(upstream string) string {
	if b.Cookie != "" {
		return b.Cookie
	}
	return "sluice_" + upstream
}

// Form says how the short form is written.
func (Balance) Form() unit.Form {
	return unit.Form{
		Name:    "method",
		Is:      "one of " + strings.Join(methods, ", "),
		Pattern: "^(" + strings.Join(methods, "|") + ")$",
	}
}

// UnmarshalText reads the short form.
func (b *Balance) UnmarshalText(text []byte) error {
	b.Method = string(text)
	if slices.Contains(methods, b.Method) {
		return nil
	}
	return fmt.Errorf("%q is not one of %s%s", text, strings.Join(methods, ", "), meant(b.Method))
}
