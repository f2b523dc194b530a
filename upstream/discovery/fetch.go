package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Server is how an HTTP server that tells endpoints is spoken to.
type Server struct {
	URL     string
	Headers []Header                      // sent with each request
	TLS     func(host string) *tls.Config // for https; nil: the authorities of the system
	Timeout time.Duration                 // for one answer; default 10s
}

// Header is one field. Its value may be a secret: no fault repeats it.
type Header struct{ Name, Value string }

const defaultTimeout = 10 * time.Second

func (s *Server) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return defaultTimeout
}

// client opens a client with connections of its own. Redirections are not
// followed: they would take the secrets of the fields elsewhere.
func (s *Server) client() *http.Client {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: s.timeout()}).DialContext,
		MaxIdleConns:           1,
		IdleConnTimeout:        2 * time.Minute,
		MaxResponseHeaderBytes: maxHeader,
	}
	if s.TLS != nil {
		transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: s.timeout()}, Config: s.TLS(host)}
			return dialer.DialContext(ctx, network, address)
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get fetches one document; within is the time for all of it. A status that is
// neither 200 nor 304 is an error.
func (s *Server) get(ctx context.Context, client *http.Client, address string, within time.Duration, fields ...Header) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, errors.New("this is not a URL")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "sluice")
	for _, field := range s.Headers {
		request.Header.Set(field.Name, field.Value)
	}
	for _, field := range fields {
		request.Header.Set(field.Name, field.Value)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, inner(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, inner(err)
	case len(body) > MaxAnswer:
		return nil, nil, fmt.Errorf("its answer is larger than %d MiB", MaxAnswer>>20)
	case response.StatusCode >= 300 && response.StatusCode < 400 && response.StatusCode != http.StatusNotModified:
		return nil, nil, fmt.Errorf("it answered %d, a redirection to %s: write the address that answers", response.StatusCode, quote(response.Header.Get("Location")))
	case response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNotModified:
		return nil, nil, fmt.Errorf("it answered %d%s", response.StatusCode, said(response, body))
	}
	return response, body, nil
}

// said is what an error says in words, if it is one line of text.
func said(response *http.Response, body []byte) string {
	text := strings.TrimSpace(string(body))
	if text == "" || strings.ContainsAny(text, "\n\r") || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/plain") {
		return ""
	}
	return ": " + quote(text)
}

// inner is an error of the client without the URL, which was said already.
func inner(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return plain(err)
}

// withoutSecrets is a URL in words: without user and query, which may have some.
func withoutSecrets(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
