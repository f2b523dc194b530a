package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		want      error
		arguments string
	}{
		{"route", nil, "GET http://api.example.com/orders/7?a=1"},
		{"route-json", nil, "GET http://api.example.com/orders/7 -o json"},
		{"normalised", nil, "POST http://API.example.com.:8080/x/../orders/%37#top"},
		{"split", nil, "PUT http://api.example.com/orders/7 -H X-Beta:"},
		{"host-field", nil, "GET /orders/7 -H Host:api.example.com"},
		{"listener", nil, "GET http://127.0.0.1:8081/files/a%2Fb"},
		{"other-listener", errProblems, "GET http://127.0.0.1:8081/files/a --listener web"},
		{"bad-path", errProblems, "GET http://127.0.0.1/files/a%2Fb"},
		{"method", errProblems, "DELETE http://api.example.com/orders/7"},
		{"nothing", errProblems, "GET http://www.example.com/orders/7"},
		{"ignored", errProblems, "GET /who -H X-Forwarded-For:192.0.2.7 -H X_A:1 -H X-Consumer-Name:root"},
		{"client", nil, "GET /who --client 192.0.2.7"},
		{"trusted", nil, "GET /who --client 10.0.0.1 -l inside -H X-Forwarded-For:192.0.2.7"},
		{"spellings", errProblems, "GET /who --client 10.0.0.1 -l inside -H X_Forwarded_For:192.0.2.7 -H X_Real-IP:192.0.2.7 -H X_Consumer-Name:root -H X_A:1 -H Forwarded:for=192.0.2.7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, errOut, err := command(append([]string{"explain", "-c", "testdata/explain/gateway.yaml"}, strings.Fields(c.arguments)...)...)
			if !errors.Is(err, c.want) || errOut != "" {
				t.Errorf("got %v, %q", err, errOut)
			}
			golden(t, "testdata/explain/"+c.name+".txt", out)
		})
	}
}

// TestDiscoveryInWords: explain and check say who tells the endpoints.
func TestDiscoveryInWords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dns", "srv", "file", "http", "consul"} {
		out, errOut, err := command("explain", "-c", "testdata/explain/discovery.yaml", "GET", "/"+name)
		if err != nil || errOut != "" {
			t.Errorf("%s: %v, %q", name, err, errOut)
		}
		golden(t, "testdata/explain/discovery-"+name+".txt", out)
	}
	out, _, err := command("check", "-c", "testdata/explain/discovery.yaml")
	if err != nil {
		t.Error(err)
	}
	golden(t, "testdata/explain/discovery-check.txt", out)
}

// TestUpstreamsInWords: explain says all that an upstream does.
func TestUpstreamsInWords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"trusting", "group"} {
		out, errOut, err := command("explain", "-c", "testdata/explain/upstreams.yaml", "GET", "/"+name)
		if err != nil || errOut != "" {
			t.Errorf("%s: %v, %q", name, err, errOut)
		}
		golden(t, "testdata/explain/upstreams-"+name+".txt", out)
	}
}

// TestRolloutInWords: explain says what a roll-out will do, and how it stands according to
// what is kept.
func TestRolloutInWords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"new", "back", "free"} {
		out, errOut, err := command("explain", "-c", "testdata/explain/rollout.yaml", "GET", "/"+name)
		if err != nil || errOut != "" {
			t.Errorf("%s: %v, %q", name, err, errOut)
		}
		golden(t, "testdata/explain/rollout-"+name+".txt", out)
	}
}

func TestExplainUsage(t *testing.T) {
	t.Parallel()
	for _, arguments := range []string{
		"GET", "GET / extra", "G\tT /", "GET http://user@host/", "GET / -H x", "GET / --client here", "GET / -H a\tb:c",
	} {
		_, _, err := command(append([]string{"explain", "-c", "testdata/explain/gateway.yaml"}, strings.Split(arguments, " ")...)...)
		if !errors.As(err, new(usageError)) {
			t.Errorf("%s: got %v", arguments, err)
		}
	}
	_, _, err := command("explain", "-c", "testdata/explain/gateway.yaml", "-l", "wbe", "GET", "/")
	if err == nil || !strings.Contains(err.Error(), `did you mean "web"`) {
		t.Errorf("got %v", err)
	}
}

func TestExplainOfABadConfiguration(t *testing.T) {
	t.Parallel()
	out, errOut, err := command("explain", "-c", "testdata/check/bad.yaml", "GET", "/")
	if !errors.Is(err, errProblems) || out != "" || !strings.Contains(errOut, "bad.yaml:6:") {
		t.Errorf("got %v, %q, %q", err, out, errOut)
	}
}

// What explain says of a route is what the matcher does, for every request that the
// golden files have.
func TestExplainJSONHasTheRoute(t *testing.T) {
	t.Parallel()
	out, _, err := command("explain", "-c", "testdata/explain/gateway.yaml", "-o", "json", "GET", "http://api.example.com/orders/7")
	if err != nil {
		t.Fatal(err)
	}
	var got explanation
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, p := range got.Policies {
		order = append(order, p.Name+" "+p.From)
	}
	want := "request_id all routes, api_key the route, rate_limit the route, headers all routes, headers the route"
	if got.Route.Name != "orders" || strings.Join(order, ", ") != want {
		t.Errorf("got %s: %s", got.Route.Name, strings.Join(order, ", "))
	}
}
