package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/config"
)

// adminClient asks the admin listener of a running gateway.
type adminClient struct {
	address string // --admin
	config  string // --config
}

const (
	adminPatience = 10 * time.Second
	// adminAnswer is how much of an answer is read.
	adminAnswer = 16 << 20
)

// where is the address of the listener: what is said, what the configuration says, or
// where it is by default.
func (a *adminClient) where() (string, error) {
	if a.address != "" {
		return reachable(a.address)
	}
	if a.config == "" {
		return admin.DefaultAddress, nil
	}
	doc, err := config.Load(a.config, nil)
	switch {
	case doc != nil && doc.Admin != nil: // Other faults of the file are no matter here.
	case err != nil:
		return "", err
	default:
		return "", fmt.Errorf("%s has no admin listener: add admin: { address: %q }", a.config, admin.DefaultAddress)
	}
	return reachable(doc.Admin.Address.String())
}

// reachable makes an address to ask out of one to listen at.
func reachable(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", usageError{fmt.Errorf("%q is no address: write host and port, such as %s", address, admin.DefaultAddress)}
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if err == nil && ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}

// rolloutPath is where the roll-out of a route is.
func rolloutPath(route string) string { return "/rollouts/" + url.PathEscape(route) }

// ask sends one request and fills into with the answer.
func (a *adminClient) ask(method, path string, into any) error {
	address, err := a.where()
	if err != nil {
		return err
	}
	var body io.Reader
	if method != http.MethodGet {
		body = strings.NewReader("{}")
	}
	r, err := http.NewRequest(method, "http://"+address+path, body)
	if err != nil {
		return usageError{err}
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{
		Timeout:       adminPatience,
		Transport:     &http.Transport{DisableKeepAlives: true}, // And no proxy: the listener is near.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return unreachable(address, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, adminAnswer))
	if err != nil {
		return unreachable(address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return adminProblem(address, resp, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("what answers at %s is no admin listener of this version: %w", address, err)
	}
	return nil
}

func unreachable(address string, err error) error {
	var more *url.Error
	if errors.As(err, &more) {
		err = more.Err
	}
	return fmt.Errorf("no answer from the admin listener at %s: %w; does the gateway run, and does its configuration have admin? --admin names another address", address, err)
}

// adminProblem is an answer that is not 200.
func adminProblem(address string, resp *http.Response, text []byte) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if kind == "application/problem+json" && json.Unmarshal(bytes.TrimSpace(text), &problem) == nil && problem.Detail != "" {
		return errors.New(printableText(problem.Detail))
	}
	return fmt.Errorf("what answers at %s is no admin listener: it says %s", address, resp.Status)
}
