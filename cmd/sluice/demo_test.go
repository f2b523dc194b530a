package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// visitor makes requests to a demo.
type visitor struct {
	t *testing.T
	d *runningDemo
}

func (v *visitor) get(url string, fields ...string) (*http.Response, string) {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return response, string(body)
}

// anywhere is free ports.
var anywhere = demoAddresses{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"}

// The demo shows what its tour says.
func TestDemo(t *testing.T) {
	var log bytes.Buffer
	d, err := startDemo(&log, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t, d}
	gateway, adminURL := "http://"+d.address, "http://"+d.admin
	seen := map[bool]int{}
	for range 4 {
		_, body := v.get(gateway + "/orders/7")
		seen[strings.Contains(body, `"orders-1"`)]++
	}
	if seen[true] != 2 || seen[false] != 2 {
		t.Errorf("the endpoints are not asked in turn: %v", seen)
	}
	for range 10 {
		if response, body := v.get(gateway + "/shaky"); response.StatusCode != 200 {
			t.Errorf("/shaky: got %d\n%s", response.StatusCode, body)
		}
	}
	if _, body := v.get(adminURL + "/metrics"); !strings.Contains(body, `sluice_upstream_ejections_total{upstream="shaky"`) {
		t.Error("nobody was ejected")
	}
	v.secure()
	for i, want := range []int{200, 200, 200, 429} {
		response, body := v.get(gateway+"/partners/orders", "X-API-Key", "demo-key")
		if response.StatusCode != want {
			t.Errorf("request %d with the key: got %d", i, response.StatusCode)
		}
		if i == 0 && (!strings.Contains(body, `"X-Consumer-Name": "acme"`) || !strings.Contains(body, `"target": "/orders"`) || strings.Contains(body, "demo-key")) {
			t.Errorf("the origin got\n%s", body)
		}
	}
	for _, c := range []struct {
		path         string
		status       int
		field, value string
	}{
		{"/partners/orders", 401, "Content-Type", "application/problem+json"},
		{"/canary", 200, "Content-Type", "application/json"},
		{"/catalogue", 200, "Content-Encoding", "gzip"},
		{"/catalogue", 200, "Access-Control-Allow-Origin", "https://app.example.com"},
		{"/reports", 504, "Content-Type", "application/problem+json"},
		{"/hello/world", 200, "Content-Type", "application/json"},
		{"/old/7", 308, "Location", "/orders/7"},
		{"/nothing", 404, "Content-Type", "application/problem+json"},
	} {
		response, body := v.get(gateway+c.path, "Origin", "https://app.example.com", "Accept-Encoding", "gzip")
		if response.StatusCode != c.status || response.Header.Get(c.field) != c.value {
			t.Errorf("%s: got %d, %s: %q\n%s", c.path, response.StatusCode, c.field, response.Header.Get(c.field), body)
		}
	}
	if response, _ := v.get(adminURL + "/status"); response.StatusCode != 200 {
		t.Errorf("/status: got %d", response.StatusCode)
	}
	if _, body := v.get(adminURL + "/metrics"); !strings.Contains(body, "requests_total") {
		t.Error("/metrics has no counters of requests")
	}
	v.stream()
	d.stop()
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "endpoint ejected") {
		t.Errorf("the log has %s", said)
	}
}

// secure makes a request over TLS and HTTP/2.
func (v *visitor) secure() {
	v.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("https://" + v.d.secure + "/orders/7")
	if err != nil {
		v.t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 200 || response.ProtoMajor != 2 {
		v.t.Errorf("over TLS: %s, %s", response.Status, response.Proto)
	}
}

// stream reads two events and leaves.
func (v *visitor) stream() {
	ctx, leave := context.WithCancel(v.t.Context())
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.d.address+"/events", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	for events := 0; events < 2; {
		if !lines.Scan() {
			v.t.Fatalf("the stream ended: %v", lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "data: ") {
			events++
		}
	}
}

func TestDemoSaysWhatToTryAndEnds(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	end()
	var out, errOut bytes.Buffer
	if err := demo(ctx, &out, &errOut, anywhere); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"/orders/7", "429", "/status", "/metrics", "--print-config"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("the tour lacks %s", word)
		}
	}
	if strings.Contains(out.String(), "GATEWAY") || strings.Contains(out.String(), "SECURE") || strings.Contains(out.String(), "ADMIN") {
		t.Errorf("an address was not filled in:\n%s", out.String())
	}
}

func TestDemoOnATakenAddress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	first, err := startDemo(&out, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	defer first.stop()
	for flag, at := range map[string]demoAddresses{
		"--address": {first.address, "127.0.0.1:0", "127.0.0.1:0"},
		"--secure":  {"127.0.0.1:0", first.secure, "127.0.0.1:0"},
		"--admin":   {"127.0.0.1:0", "127.0.0.1:0", first.admin},
	} {
		_, err := startDemo(&out, at)
		if err == nil || !strings.Contains(err.Error(), "is taken") || !strings.Contains(err.Error(), flag+" ") {
			t.Errorf("%s: got %v", flag, err)
		}
	}
}

func TestTheDemosConfigurationCanBeKept(t *testing.T) {
	t.Parallel()
	out, _, err := command("demo", "--print-config", "--address", "127.0.0.1:18080")
	if err != nil || !strings.Contains(out, "127.0.0.1:18080") {
		t.Fatalf("got %v\n%s", err, out)
	}
	path := t.TempDir() + "/sluice.yaml"
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, err := command("check", path); err != nil {
		t.Errorf("got %v\n%s", err, out)
	}
	if _, _, err := command("demo", "--address", "nowhere"); !errors.As(err, new(usageError)) {
		t.Errorf("got %v", err)
	}
}
