package certificates

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ari stands in front of pebble and adds renewal information (RFC 9773).
type ari struct {
	issuer   Issuer
	now      atomic.Bool  // every certificate is to be renewed now
	replaced atomic.Int32 // orders that name the certificate that they replace
}

func newARI(t *testing.T, p *pebble) *ari {
	t.Helper()
	a := &ari{}
	behind, err := url.Parse(p.directory)
	if err != nil {
		t.Fatal(err)
	}
	behind.Path = ""
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host // The addresses in pebble's answers are those of this server.
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // On the same machine.
	}
	proxy.ModifyResponse = a.announce
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/renewal-info/") {
			a.inform(w)
			return
		}
		a.look(r)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	roots := write(t, t.TempDir()+"/front.pem", certPEM(server.Certificate()))
	a.issuer = Issuer{Directory: server.URL + "/dir", Email: "ops@example.com", Authorities: roots}
	return a
}

// inform answers when a certificate is to be renewed.
func (a *ari) inform(w http.ResponseWriter) {
	start := time.Now().Add(30 * 24 * time.Hour)
	if a.now.Load() {
		start = time.Now().Add(-48 * time.Hour)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	_, _ = fmt.Fprintf(w, `{"suggestedWindow": {"start": %q, "end": %q}}`,
		start.UTC().Format(time.RFC3339), start.Add(24*time.Hour).UTC().Format(time.RFC3339))
}

// announce adds the address to the directory.
func (a *ari) announce(answer *http.Response) error {
	if answer.Request.URL.Path != "/dir" {
		return nil
	}
	directory := map[string]any{}
	if err := json.NewDecoder(answer.Body).Decode(&directory); err != nil {
		return err
	}
	directory["renewalInfo"] = "https://" + answer.Request.Host + "/renewal-info"
	text, err := json.Marshal(directory)
	answer.Body = io.NopCloser(bytes.NewReader(text))
	answer.ContentLength = int64(len(text))
	answer.Header.Del("Content-Length")
	return err
}

// look finds orders that replace a certificate.
func (a *ari) look(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Payload string }
	if err != nil || json.Unmarshal(body, &signed) != nil {
		return
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err == nil && bytes.Contains(payload, []byte(`"replaces":"`)) {
		a.replaced.Add(1)
	}
}
