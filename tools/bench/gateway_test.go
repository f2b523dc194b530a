//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/policies"
	"github.com/sluice-gateway/sluice/targets"
)

// TestConfigurationsHold keeps the configurations here in step with the language:
// nobody runs the benchmarks every day.
func TestConfigurationsHold(t *testing.T) {
	t.Parallel()
	g := gateway{listen: "127.0.0.1:8080", admin: "127.0.0.1:9901", config: filepath.Join(t.TempDir(), "sluice.yaml")}
	certificate, key, err := makeCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	head := g.head("127.0.0.1:8081")
	secure := gateway{listen: g.listen, admin: g.admin, tls: secureListener}
	for name, text := range map[string]string{
		"bare":     head + bareRoute,
		"upgrades": head + webSocketRoute,
		"secure":   secure.head("127.0.0.1:8081") + bareRoute,
		"governed": head + governed("/tmp/access.log"),
		"traffic":  g.twoEndpoints("127.0.0.1:8081") + allTraffic,
		"plain":    g.twoEndpoints("127.0.0.1:8081") + bareRoute,
		"routes":   string(g.routesFile("127.0.0.1:8081", 20).text),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "sluice.yaml")
		files := map[string][]byte{"sluice.yaml": []byte(text), certificateFile: certificate, keyFile: key}
		for file, content := range files {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		doc, err := config.Load(path, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		result, err := compile.Check(doc, policies.All(), targets.All())
		if err != nil || len(result.Warnings) > 0 {
			t.Errorf("%s: %v, %v", name, err, result)
		}
	}
}

func TestRoutesFile(t *testing.T) {
	t.Parallel()
	g := gateway{config: filepath.Join(t.TempDir(), "sluice.yaml")}
	f := g.routesFile("127.0.0.1:8081", 20)
	for revision := range 3 {
		if err := f.prepare(revision); err != nil {
			t.Fatal(err)
		}
		if err := f.replace(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(g.config)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(text), `body: "`+revisionText(revision)+`"`) != 1 || strings.Count(string(text), "    upstream: origin\n") != 20 {
			t.Fatalf("revision %d:\n%s", revision, text)
		}
	}
}
