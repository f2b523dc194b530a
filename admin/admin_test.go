package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// options are those of a gateway that is ready.
func options() Options {
	return Options{
		Address: "127.0.0.1:0",
		Metrics: func(w io.Writer) error {
			_, err := io.WriteString(w, "# TYPE a gauge\na 1\n")
			return err
		},
		Readiness: func() Readiness { return Readiness{Ready: true, Revision: 7, Hash: "sha256:abc"} },
		Status: func() Status {
			at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
			return Status{
				Version: "1.2.3", Started: at, UptimeSeconds: 1.5,
				Readiness: Readiness{Ready: true, Revision: 7, Hash: "sha256:abc"},
				Reload:    Reload{Result: ReloadFailure, At: at, Error: "sluice.yaml:1:1: wrong"},
				Routes:    2, Kept: 3,
				Listeners: []Listener{{Name: "web", Address: "127.0.0.1:8080", Connections: 4}},
				Upstreams: []Upstream{{Name: "orders", Endpoints: []Endpoint{{Address: "10.0.0.7:8080", State: "healthy", Weight: 1, Open: 5, Idle: 4, Active: 1}}}},
			}
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// ask sends one request to the handler.
func ask(h http.Handler, method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:9901"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	ready := options()
	draining := options()
	draining.Readiness = func() Readiness { return Readiness{Reason: "draining", Revision: 7, Hash: "sha256:abc"} }
	empty := options()
	empty.Readiness = func() Readiness { return Readiness{Reason: "no configuration is applied"} }
	empty.Status = func() Status {
		return Status{Reload: Reload{Result: ReloadNone}, Upstreams: []Upstream{{Name: "a"}}}
	}
	const plain, document = "application/json", "application/problem+json"
	for _, test := range []struct {
		name         string
		options      Options
		method, path string
		status       int
		media, body  string
	}{
		{"alive", ready, "GET", "/healthz", 200, plain, `{"alive":true}`},
		{"alive while draining", draining, "GET", "/healthz", 200, plain, `{"alive":true}`},
		{"ready", ready, "GET", "/readyz", 200, plain, `{"ready":true,"revision":7,"hash":"sha256:abc"}`},
		{"query", ready, "GET", "/readyz?verbose", 200, plain, `{"ready":true,"revision":7,"hash":"sha256:abc"}`},
		{"draining", draining, "GET", "/readyz", 503, plain, `{"ready":false,"reason":"draining","revision":7,"hash":"sha256:abc"}`},
		{"empty", empty, "GET", "/readyz", 503, plain, `{"ready":false,"reason":"no configuration is applied","revision":0}`},
		{"status", ready, "GET", "/status", 200, plain, `{"version":"1.2.3","started":"2026-11-23T01:02:03Z","uptime_seconds":1.5,` +
			`"ready":true,"revision":7,"hash":"sha256:abc",` +
			`"reload":{"result":"failure","at":"2026-11-23T01:02:03Z","error":"sluice.yaml:1:1: wrong"},"routes":2,"kept":3,` +
			`"listeners":[{"name":"web","address":"127.0.0.1:8080","connections":4}],` +
			`"upstreams":[{"name":"orders","endpoints":[{"address":"10.0.0.7:8080","state":"healthy","weight":1,"priority":0,"open":5,"idle":4,"active":1}]}]}`},
		{"empty status", empty, "GET", "/status", 200, plain, `{"version":"","started":"0001-01-01T00:00:00Z","uptime_seconds":0,` +
			`"ready":false,"revision":0,"reload":{"result":"none"},"routes":0,"kept":0,"listeners":[],"upstreams":[{"name":"a","endpoints":[]}]}`},
		{"not found", ready, "GET", "/", 404, document, `{"title":"Not Found","status":404,"detail":"there are /healthz, /metrics, /readyz, /status","code":"not_found"}`},
		{"below", ready, "GET", "/status/x", 404, document, `{"title":"Not Found","status":404,"detail":"there are /healthz, /metrics, /readyz, /status","code":"not_found"}`},
		{"write", ready, "POST", "/status", 405, document, `{"title":"Method Not Allowed","status":405,"detail":"/status can only be read: use GET","code":"method_not_allowed"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := ask(newHandler(&test.options, true), test.method, test.path)
			var compact bytes.Buffer
			if err := json.Compact(&compact, w.Body.Bytes()); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code != test.status || compact.String() != test.body || w.Header().Get("Content-Type") != test.media {
				t.Errorf("%d %s\n%s\nwant %d %s\n%s", w.Code, w.Header().Get("Content-Type"), compact.String(), test.status, test.media, test.body)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("header %v", w.Header())
			}
			if allow := w.Header().Get("Allow"); (test.status == 405) != (allow == "GET, HEAD") {
				t.Errorf("Allow is %q", allow)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	o := options()
	w := ask(newHandler(&o, true), "GET", "/metrics")
	if w.Code != 200 || w.Body.String() != "# TYPE a gauge\na 1\n" || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// A figure that JSON cannot spell is an error, not half an answer.
func TestUnspeakableStatus(t *testing.T) {
	t.Parallel()
	o := options()
	o.Status = func() Status { return Status{UptimeSeconds: math.NaN()} }
	if w := ask(newHandler(&o, true), "GET", "/status"); w.Code != 500 || !strings.Contains(w.Body.String(), `"internal_error"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	o := options()
	for _, test := range []struct {
		host  string
		local bool
		want  int
	}{
		{"127.0.0.1:9901", true, 200},
		{"127.0.0.1", true, 200},
		{"[::1]:9901", true, 200},
		{"[::1]", true, 200},
		{"localhost:9901", true, 200},
		{"LOCALHOST", true, 200},
		{"www.example.com:9901", true, 421},
		{"localhost.example.com", true, 421},
		{"127.0.0.1.example.com", true, 421},
		{"", true, 421},
		{"www.example.com:9901", false, 200},
	} {
		r := httptest.NewRequest("GET", "/status", nil)
		r.Host = test.host
		w := httptest.NewRecorder()
		newHandler(&o, test.local).ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%q, local %v: %d, want %d", test.host, test.local, w.Code, test.want)
		}
		if leaks := strings.Contains(w.Body.String(), "sha256:abc"); leaks != (test.want == 200) {
			t.Errorf("%q: %s", test.host, w.Body)
		}
	}
}

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	o := options()
	hold, begun := make(chan struct{}), make(chan struct{})
	o.Metrics = func(io.Writer) error {
		begun <- struct{}{}
		<-hold
		return nil
	}
	h := newHandler(&o, true)
	var all sync.WaitGroup
	for range maxRequests {
		all.Go(func() { ask(h, "GET", "/metrics") })
		<-begun
	}
	w := ask(h, "GET", "/healthz")
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), `"busy"`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	close(hold)
	all.Wait()
	if w := ask(h, "GET", "/healthz"); w.Code != 200 {
		t.Errorf("%d after the requests have ended", w.Code)
	}
}

// get asks a running server, on a connection of its own.
func get(s *Server, path string) (int, string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + s.Addr().String() + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// gone waits until no goroutine of a server is left: those of connections end
// shortly after Shutdown has returned. The test's own time limit ends the wait.
func gone(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for {
		all := string(stacks[:runtime.Stack(stacks, true)])
		if !strings.Contains(all, "net/http.(*conn).serve") && !strings.Contains(all, "net/http.(*Server).Serve") {
			return
		}
		runtime.Gosched()
	}
}

// These tests run one after the other, as they look at all goroutines.
func TestServer(t *testing.T) {
	s, err := Start(options())
	if err != nil {
		t.Fatal(err)
	}
	if !loopback(s.Addr()) {
		t.Errorf("bound to %v", s.Addr())
	}
	if status, body, err := get(s, "/readyz"); err != nil || status != 200 || !strings.Contains(body, "sha256:abc") {
		t.Errorf("%d %q %v", status, body, err)
	}
	// A connection that is idle does not hold up the end.
	idle, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	fmt.Fprintf(idle, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(idle), &http.Request{Method: "HEAD"}); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("connections are still accepted")
	}
	gone(t)
}

// held is a running server whose scrape has begun and waits; its answer comes later.
func held(t *testing.T) (s *Server, hold chan struct{}, answer chan string) {
	t.Helper()
	o := options()
	begun, hold := make(chan struct{}), make(chan struct{})
	o.Metrics = func(w io.Writer) error {
		close(begun)
		<-hold
		_, err := io.WriteString(w, "late")
		return err
	}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	answer = make(chan string, 1)
	go func() {
		_, body, err := get(s, "/metrics")
		if err != nil {
			body = "cut off"
		}
		answer <- body
	}()
	<-begun
	return s, hold, answer
}

// A request that is under way is finished.
func TestShutdownLetsRequestsEnd(t *testing.T) {
	s, hold, answer := held(t)
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	for {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			break // The shutdown has begun.
		}
		conn.Close()
	}
	close(hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if body := <-answer; body != "late" {
		t.Errorf("got %q", body)
	}
	gone(t)
}

// A request that does not end in time is cut off.
func TestShutdownIsBounded(t *testing.T) {
	s, hold, answer := held(t)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(over); !errors.Is(err, context.Canceled) {
		t.Errorf("shutting down gives %v", err)
	}
	if body := <-answer; body != "cut off" {
		t.Errorf("got %q", body)
	}
	close(hold)
	gone(t)
}

// A scrape that fails in the middle must not look complete.
func TestBrokenScrape(t *testing.T) {
	o := options()
	o.Metrics = func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return errors.New("no more")
	}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, body, err := get(s, "/metrics"); err == nil {
		t.Errorf("got %q", body)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	gone(t)
}

// More clients than there is room for wait for their turn.
func TestConnectionLimit(t *testing.T) {
	s, err := Start(options())
	if err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	for range maxConnections {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v %v", resp, err)
		}
		open = append(open, conn)
	}
	answered := make(chan error, 1)
	go func() {
		_, _, err := get(s, "/healthz")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("one too many was served: %v", err)
	default:
	}
	open[0].Close()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	gone(t)
}

// A listener that is full can be shut down too.
func TestShutdownWhenFull(t *testing.T) {
	s, err := Start(options())
	if err != nil {
		t.Fatal(err)
	}
	for range maxConnections + 1 {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(over); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	gone(t)
}

func TestStartErrors(t *testing.T) {
	s, err := Start(options())
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Address = s.Addr().String()
	if _, err := Start(o); err == nil || !strings.Contains(err.Error(), o.Address) {
		t.Errorf("an address that is taken gives %v", err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(DefaultAddress, "127.0.0.1:") {
		t.Errorf("by default others reach %s", DefaultAddress)
	}
	gone(t)
}

// Whoever opens the listener to others is told so.
func TestOpenListenerIsLogged(t *testing.T) {
	var log bytes.Buffer
	o := options()
	o.Address = "0.0.0.0:0"
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "can be reached from other machines") {
		t.Errorf("the log says %q", log.String())
	}
	gone(t)
}
