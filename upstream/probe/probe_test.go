package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// asked is what a test endpoint was asked.
type asked struct{ method, path, host, agent, token string }

func endpoint(t *testing.T, secure bool) (address string, seen chan asked, settings func(string) *tls.Config) {
	seen = make(chan asked, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- asked{r.Method, r.URL.String(), r.Host, r.UserAgent(), r.Header.Get("X-Token")}
		switch r.URL.Path {
		case "/ill":
			w.WriteHeader(503)
		case "/moved":
			w.Header().Set("Location", "/")
			w.WriteHeader(302)
		case "/stalls":
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, `{"state":"fine"}`)
	}))
	if secure {
		s.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		settings = func(string) *tls.Config { return &tls.Config{RootCAs: roots, ServerName: "example.com"} }
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), seen, settings
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		address, seen, settings := endpoint(t, secure)
		tests := map[string]struct {
			config Config
			want   string // of the error
			asked  asked
		}{
			"well":           {Config{}, "", asked{"GET", "/", address, "sluice-health", ""}},
			"what is asked":  {Config{Method: "HEAD", Path: "/a?b=c", Host: "orders.example.com", Fields: [][2]string{{"X-Token", "t"}, {"User-Agent", "own"}}}, "", asked{"HEAD", "/a?b=c", "orders.example.com", "own", "t"}},
			"status":         {Config{Path: "/ill"}, "the status is 503", asked{"GET", "/ill", address, "sluice-health", ""}},
			"other status":   {Config{Path: "/ill", Statuses: []Range{{200, 204}, {503, 503}}}, "", asked{"GET", "/ill", address, "sluice-health", ""}},
			"not followed":   {Config{Path: "/moved"}, "the status is 302", asked{"GET", "/moved", address, "sluice-health", ""}},
			"body":           {Config{Body: `"fine"`}, "", asked{"GET", "/", address, "sluice-health", ""}},
			"another body":   {Config{Body: "good"}, `the body lacks "good"`, asked{"GET", "/", address, "sluice-health", ""}},
			"takes too long": {Config{Path: "/stalls", Timeout: 4 * time.Second}, "no answer within 4s", asked{"GET", "/stalls", address, "sluice-health", ""}},
		}
		for name, test := range tests {
			if test.config.Timeout == 0 {
				test.config.Timeout = 10 * time.Second
			}
			err := New(test.config, settings).Probe(t.Context(), address, secure)
			if said(err) != test.want && !strings.Contains(said(err), test.want) || test.want == "" && err != nil {
				t.Errorf("%s: %v, want %q", name, err, test.want)
			}
			select {
			case got := <-seen:
				if got != test.asked {
					t.Errorf("%s: it was asked %+v", name, got)
				}
			default:
				t.Errorf("%s: it was not asked", name)
			}
		}
	}
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []Kind{HTTP, TCP, GRPC} {
		if err := New(Config{Kind: TCP, Timeout: 10 * time.Second}, nil).Probe(t.Context(), l.Addr().String(), false); err != nil {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	address := l.Addr().String()
	_ = l.Close()
	for _, kind := range []Kind{HTTP, TCP, GRPC} {
		if err := New(Config{Kind: kind, Timeout: 10 * time.Second}, nil).Probe(t.Context(), address, false); err == nil {
			t.Errorf("kind %d: an address at which nobody listens is well", kind)
		}
	}
}

// TestTCPWithTLS is a connection to an endpoint whose certificate is not believed.
func TestTCPWithTLS(t *testing.T) {
	t.Parallel()
	address, _, settings := endpoint(t, true)
	c := Config{Kind: TCP, Timeout: 10 * time.Second}
	if err := New(c, settings).Probe(t.Context(), address, true); err != nil {
		t.Error(err)
	}
	stranger := func(string) *tls.Config { return &tls.Config{ServerName: "example.com"} }
	if err := New(c, stranger).Probe(t.Context(), address, true); err == nil {
		t.Error("a certificate of nobody is believed")
	}
}

// TestGRPC asks the health service of grpc-go.
func TestGRPC(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, states := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, states)
	states.SetServingStatus("orders", grpc_health_v1.HealthCheckResponse_SERVING)
	states.SetServingStatus("ill", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	for service, well := range map[string]bool{"": true, "orders": true, "ill": false, "unknown": false} {
		err := New(Config{Kind: GRPC, Service: service, Timeout: 10 * time.Second}, nil).Probe(t.Context(), l.Addr().String(), false)
		if (err == nil) != well {
			t.Errorf("service %q: %v", service, err)
		}
	}
	address, _, _ := endpoint(t, false)
	if err := New(Config{Kind: GRPC, Timeout: 10 * time.Second}, nil).Probe(t.Context(), address, false); err == nil {
		t.Error("a server that speaks no gRPC is well")
	}
}

// TestAgreed is what endpoints are asked over when TLS is agreed on: what upstreams offer, and what the
// endpoints take of that.
func TestAgreed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		takes  []string
		config Config
		offers []string
		want   string // HTTP/1.1, HTTP/2.0; "": it is not well
	}{
		{[]string{"h2", "http/1.1"}, Config{}, []string{"h2", "http/1.1"}, "HTTP/2.0"},
		{[]string{"http/1.1"}, Config{}, []string{"h2", "http/1.1"}, "HTTP/1.1"},
		{[]string{"h2"}, Config{}, []string{"h2", "http/1.1"}, "HTTP/2.0"},
		{[]string{"h2", "http/1.1"}, Config{}, []string{"http/1.1"}, "HTTP/1.1"},
		{[]string{"h2", "http/1.1"}, Config{HTTP2: true}, []string{"h2"}, "HTTP/2.0"},
		{[]string{"http/1.1"}, Config{HTTP2: true}, []string{"h2"}, ""},
		{[]string{"h2", "http/1.1"}, Config{Kind: GRPC}, []string{"http/1.1"}, "HTTP/2.0"},
	} {
		seen := make(chan string, 1)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Proto
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1}) // A message: serving.
		}))
		s.EnableHTTP2 = c.takes[0] == "h2"
		s.TLS = &tls.Config{NextProtos: c.takes}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		settings := func(string) *tls.Config {
			return &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: c.offers}
		}
		c.config.Timeout = 10 * time.Second
		err := New(c.config, settings).Probe(t.Context(), s.Listener.Addr().String(), true)
		s.Close()
		close(seen)
		if got := <-seen; got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("takes %v, offered %v: asked over %q, want %q: %v", c.takes, c.offers, got, c.want, err)
		}
	}
}

// introduced takes connections that begin with some bytes, and closes others.
type introduced struct {
	net.Listener
	with string
}

func (l introduced) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		header := make([]byte, len(l.with))
		if _, err := io.ReadFull(nc, header); err == nil && string(header) == l.with {
			return nc, nil
		}
		_ = nc.Close()
	}
}

// TestProxyProtocol asks endpoints that want to be told whose connection it is: the gateway's own.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	for version, header := range map[int]string{1: "PROXY UNKNOWN\r\n", 2: "\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00"} {
		for _, secure := range []bool{false, true} {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			s.Listener = introduced{s.Listener, header}
			settings := func(string) *tls.Config { return nil }
			if secure {
				s.StartTLS()
				roots := x509.NewCertPool()
				roots.AddCert(s.Certificate())
				settings = func(string) *tls.Config { return &tls.Config{RootCAs: roots, ServerName: "example.com"} }
			} else {
				s.Start()
			}
			c := Config{ProxyProtocol: version, Timeout: 10 * time.Second}
			if err := New(c, settings).Probe(t.Context(), s.Listener.Addr().String(), secure); err != nil {
				t.Errorf("version %d, TLS %v: %v", version, secure, err)
			}
			s.Close()
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	address, _, _ := endpoint(t, false)
	if err := New(Config{Timeout: time.Second}, nil).Probe(ctx, address, false); err == nil {
		t.Error("a probe that was given up says that the endpoint is well")
	}
}
