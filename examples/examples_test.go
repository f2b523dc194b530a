// Package examples holds configurations to start from. The comment at the top of each
// says what it shows and how to try it; this test tries it.
package examples

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

// documents are the files with which a gateway is started.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.yaml", "*/sluice.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 8 {
		t.Fatalf("only %d examples were found", len(all))
	}
	return all
}

// running is a gateway; ports are the addresses where it really listens, by the
// address of the file.
type running map[string]string

// start runs a configuration as sluice serve does, on free ports.
func start(t *testing.T, path string) running {
	t.Helper()
	doc, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	registry, logger := observe.NewRegistry(), slog.New(slog.DiscardHandler)
	metrics := observe.NewGateway(registry, "test", time.Now())
	compiler := compile.New(compile.Options{
		Policies: policies.All(), Targets: targets.All(), Gateway: metrics, Metrics: registry, Logger: logger,
	})
	result, err := compiler.Compile(doc, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		t.Errorf("%s: %v", path, w)
	}
	e := engine.New(metrics, logger)
	sockets := listen.NewSet(e, func(name string) listen.Metrics { return metrics.Listener(name) }, logger)
	wanted := map[string]string{}
	for i := range result.Listeners {
		l := &result.Listeners[i]
		wanted[l.Name] = l.Address
		l.Address = "127.0.0.1:0"
	}
	change, err := sockets.Prepare(result.Listeners)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range result.Upstreams {
		u.Start()
		if !u.Await() {
			t.Errorf("%s: the upstream %s has no endpoints", path, u.Name())
		}
	}
	e.Swap(result.Snapshot)
	change.Commit()
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		sockets.Shutdown(over)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	r := running{}
	for _, l := range sockets.Status() {
		_, port, _ := strings.Cut(wanted[l.Name], ":")
		r[port] = l.Address
	}
	return r
}

// copied is the folder of an example with the addresses of the origins that run.
func copied(t *testing.T, path string, origins running) string {
	t.Helper()
	folder := t.TempDir()
	from := "."
	if filepath.Dir(path) != "." {
		from = filepath.Dir(path)
	}
	if err := os.CopyFS(folder, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for port, address := range origins {
			text = []byte(strings.ReplaceAll(string(text), "http://127.0.0.1:"+port, "http://"+address))
		}
		return os.WriteFile(name, text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, filepath.Base(path))
}

// call is a line such as
//
//	#   curl -H 'X-API-Key: key' localhost:8080/orders/7   # 200 "path":"/orders/7"
//
// of the comment at the top of an example.
type call struct {
	line   string
	words  []string
	status int
	text   string // that the body has
}

var (
	callLine = regexp.MustCompile(`(?m)^#   curl (.*?) +# (\d{3})(?: (.*))?$`)
	word     = regexp.MustCompile(`'[^']*'|[^ ]+`)
)

func callsOf(t *testing.T, path string) []call {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var calls []call
	for _, m := range callLine.FindAllStringSubmatch(string(text), -1) {
		status, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		c := call{line: m[0], status: status, text: m[3]}
		for _, w := range word.FindAllString(m[1], -1) {
			c.words = append(c.words, strings.Trim(w, "'"))
		}
		calls = append(calls, c)
	}
	if len(calls) == 0 {
		t.Errorf("%s: the comment at the top has no call to try", path)
	}
	return calls
}

// request makes of the words of a call what curl makes of them.
func (c *call) request(t *testing.T, gateway running) *http.Request {
	t.Helper()
	method, target, header := "GET", "", http.Header{}
	for i := 0; i < len(c.words); i++ {
		switch w := c.words[i]; w {
		case "-i":
		case "-X":
			i++
			method = c.words[i]
		case "-H":
			i++
			name, value, _ := strings.Cut(c.words[i], ": ")
			header.Set(name, value)
		default:
			target = w
		}
	}
	authority, path, _ := strings.Cut(target, "/")
	_, port, _ := strings.Cut(authority, ":")
	r, err := http.NewRequest(method, "http://"+gateway[port]+"/"+path, nil)
	if err != nil {
		t.Fatalf("%s: %v", c.line, err)
	}
	r.Header = header
	r.Host = authority
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	return r
}

func TestExamples(t *testing.T) {
	t.Parallel()
	origins := start(t, "origin.yaml")
	for _, path := range documents(t) {
		t.Run(filepath.ToSlash(path), func(t *testing.T) {
			gateway := origins
			if path != "origin.yaml" {
				gateway = start(t, copied(t, path, origins))
			}
			for _, c := range callsOf(t, path) {
				play(t, &c, gateway)
			}
		})
	}
}

func play(t *testing.T, c *call, gateway running) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(c.request(t, gateway))
	if err != nil {
		t.Errorf("%s: %v", c.line, err)
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Errorf("%s: %v", c.line, err)
	}
	if answer.StatusCode != c.status || !strings.Contains(string(body), c.text) {
		t.Errorf("%s\n%d %s", c.line, answer.StatusCode, body)
	}
}
