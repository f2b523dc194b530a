package discovery

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
	"github.com/sluice-gateway/sluice/upstream/discovery"
)

var block = regexp.MustCompile("(?ms)^```(yaml|json)\n(.*?)^```$")

// TestDocs: what docs/discovery.md shows is what the gateway takes.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/discovery.md")
	if err != nil {
		t.Fatal(err)
	}
	played := map[string]int{}
	for _, b := range block.FindAllStringSubmatch(string(page), -1) {
		switch text := b[2]; {
		case strings.HasPrefix(text, "listeners:"):
			checkDocument(t, text)
			played["documents"]++
		case strings.HasPrefix(text, "upstreams:"):
			checkDocument(t, "listeners: [{ name: web, address: \":8080\" }]\nroutes: [{ name: all, upstream: orders }]\n"+text)
			played["documents"]++
		case strings.HasPrefix(text, "# endpoints.yaml"):
			if list, err := config.Endpoints("endpoints.yaml", []byte(text)); err != nil || len(list) != 2 {
				t.Errorf("%s\n%d endpoints, %v", text, len(list), err)
			}
			played["files"]++
		case b[1] == "json":
			watchGroups(t, text)
			played["groups"]++
		default:
			t.Errorf("nobody knows how to play\n%s", text)
		}
	}
	if played["documents"] != 5 || played["files"] != 1 || played["groups"] != 1 {
		t.Errorf("played %v", played)
	}
}

// checkDocument checks a document with the files that it names.
func checkDocument(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "sluice.yaml", text)
	put(t, dir, "endpoints.yaml", "- http://10.0.0.7:8080\n")
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	if err := os.Mkdir(filepath.Join(dir, "certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "certs/internal.pem", certificate(server))
	doc, err := config.Load(filepath.Join(dir, "sluice.yaml"), &config.Cache{Env: func(string) (string, bool) { return "value", true }})
	if err != nil {
		t.Errorf("%s\n%v", text, err)
		return
	}
	r, err := compile.Check(doc, policies.All(), targets.All())
	if err != nil || len(r.Warnings) > 0 {
		t.Errorf("%s\n%v", text, err)
	}
}

// watchGroups serves a document to the source that reads such.
func watchGroups(t *testing.T, text string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text) }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []discovery.Endpoint
	source := &discovery.HTTP{Server: discovery.Server{URL: server.URL}}
	source.Watch(ctx, func(list []discovery.Endpoint) { got = list; cancel() }, func(err error) {
		if err != nil {
			t.Error(err)
			cancel()
		}
	})
	if len(got) != 3 || got[0].Zone != "a" || got[0].Weight != 2 || !got[2].Secure || got[2].Priority != 1 {
		t.Errorf("%+v", got)
	}
}

// certificate is that of a server, in PEM form.
func certificate(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}
