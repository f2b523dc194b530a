package certificates

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// challengePath is where an authority looks for the answer to HTTP-01 (RFC 8555
// §8.3).
const challengePath = "/.well-known/acme-challenge/"

// maxToken is far above the 43 characters that authorities use.
const maxToken = 256

// IsChallengePath says whether Challenge is worth asking. It allocates nothing.
func IsChallengePath(path string) bool { return strings.HasPrefix(path, challengePath) }

// Challenge answers HTTP-01: the body for a GET of path at host, to be sent as
// application/octet-stream or text/plain with status 200. ok is false where no
// such challenge is under way, here or in another instance with the same storage:
// the request is then like any other. A listener without TLS on port 80 asks it
// before it matches routes; authorities follow redirects, so one to https is
// answered there too.
func (a *Automatic) Challenge(host, path string) (keyAuthorization string, ok bool) {
	token, ok := strings.CutPrefix(path, challengePath)
	if !ok || token == "" || len(token) > maxToken || strings.ContainsFunc(token, notBase64URL) {
		return "", false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	// Others would make the storage be read for names that are not ours.
	if !a.mayBeOurs(host) {
		return "", false
	}
	var body answerWriter
	r := (&http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Host: host, Header: http.Header{}}).WithContext(a.ctx)
	if !a.http.HandleHTTPChallenge(&body, r) {
		return "", false
	}
	return body.text.String(), true
}

func notBase64URL(r rune) bool {
	return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

func (a *Automatic) mayBeOurs(name string) bool {
	return a.manages(name) || a.onDemand != nil && !a.onDemand.denies(name)
}

// answerWriter is where certmagic writes its answer to.
type answerWriter struct {
	header http.Header
	text   strings.Builder
}

func (w *answerWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}
func (w *answerWriter) Write(p []byte) (int, error) { return w.text.Write(p) }
func (w *answerWriter) WriteHeader(int)             {}

// challengeConfig is tls.Config.GetConfigForClient: an authority that validates a
// name offers one protocol only (RFC 8737 §3), and is served nothing but the
// challenge. For all others it is nil: the listener's own config.
func (a *Automatic) challengeConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != ChallengeProtocol || a.answer == nil {
		return nil, nil
	}
	if !a.mayBeOurs(strings.ToLower(hello.ServerName)) {
		return nil, nil
	}
	return a.answer, nil
}
