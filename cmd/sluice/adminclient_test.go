package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/admin"
)

func TestReachable(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:9901": "127.0.0.1:9901", ":9901": "127.0.0.1:9901", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "[::1]:1",
		"192.0.2.7:9901": "192.0.2.7:9901", "admin.example.com:1": "admin.example.com:1",
	} {
		if got, err := reachable(listen); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", listen, got, err, want)
		}
	}
	if _, err := reachable("9901"); !errors.As(err, new(usageError)) {
		t.Errorf("a port alone: %v", err)
	}
}

func TestWhereTheGatewayIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const rest = "listeners: [{ name: web, address: ':8080' }]\nroutes: [{ name: all, respond: { status: 204 } }]\n"
	for _, test := range []struct{ address, config, want string }{
		{"", "", admin.DefaultAddress},
		{"127.0.0.1:1", "nothing.yaml", "127.0.0.1:1"},
		{"", file("here.yaml", "admin: { address: ':7' }\n"+rest), "127.0.0.1:7"},
		{"", file("faulty.yaml", "admin: { address: ':7' }\n"+rest+"upstreams: [{ name: a, endpoints: [nowhere] }]\n"), "127.0.0.1:7"},
	} {
		a := &adminClient{address: test.address, config: test.config}
		if got, err := a.where(); err != nil || got != test.want {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
	for name, want := range map[string]string{file("none.yaml", rest): "has no admin listener: add admin", filepath.Join(dir, "no.yaml"): "no such file"} {
		if _, err := (&adminClient{config: name}).where(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v lacks %q", name, err, want)
		}
	}
}

// TestRolloutAnswers: what is no admin listener, and what is one.
func TestRolloutAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, kind, body string
		status           int
		arguments        []string
		out, want        string
	}{
		{"a web page", "text/html", "<html>", 404, []string{"list"}, "", "is no admin listener: it says 404 Not Found"},
		{"a page that is found", "text/html", "<html>", 200, []string{"list"}, "", "is no admin listener of this version"},
		{"elsewhere", "text/html", "", 302, []string{"list"}, "", "it says 302 Found"},
		{"a problem", "application/problem+json", `{"detail": "there is \u001b nothing"}`, 409, []string{"pause", "a"}, "", "a: there is \x1b nothing"},
		{"none", "application/json", `{"rollouts": []}`, 200, []string{"list"}, "no route has a rollout\n", ""},
		{"none to show", "application/json", `{"rollouts": []}`, 200, []string{"show"}, "", "no route has a rollout"},
		{"several", "application/json", `{"rollouts": [{"route": "a"}, {"route": "b"}]}`, 200, []string{"show"}, "", "name one of the routes that have a rollout: a, b"},
		{"as JSON", "application/json", `{"rollouts": [{"route": "a"}]}`, 200, []string{"list", "-o", "json"}, `"route": "a"`, ""},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		}))
		out, _, err := command(append([]string{"rollout", "--admin", s.Listener.Addr().String()}, test.arguments...)...)
		s.Close()
		if !strings.Contains(out, test.out) || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, %q", test.name, err, out)
		}
	}
	if _, _, err := command("rollout", "pose"); !errors.As(err, new(usageError)) {
		t.Errorf("an unknown command: %v", err)
	}
}
