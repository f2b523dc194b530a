package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write puts files into a folder and returns the path of the first.
func write(t testing.TB, folder string, files ...string) string {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(folder, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, files[0])
}

func manyRoutes(n int) string {
	var b strings.Builder
	b.WriteString("version: 1\nlisteners:\n  - name: web\n    address: \":8080\"\nupstreams:\n  - name: orders\n    endpoints: [http://10.0.0.1:80]\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: route-%d\n    match:\n      host: api%d.example.com\n      path: /v1/things%d/**\n      methods: [GET, POST]\n    policies:\n      - headers: {request: {set: {x-a: b}}}\n    upstream: orders\n", i, i%100, i)
	}
	return b.String()
}

func TestLoadReusesWhatDidNotChange(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := manyRoutes(200)
	path := write(t, folder, "sluice.yaml", text)
	cache := &Cache{}
	first, err := Load(path, cache)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(text, "/v1/things70/", "/v2/things70/", 1)
	changed = strings.Replace(changed, "routes:\n", "# a line more\nroutes:\n", 1)
	write(t, folder, "sluice.yaml", changed)
	second, err := Load(path, cache)
	if err != nil {
		t.Fatal(err)
	}
	for i := range first.Routes {
		if same := first.Routes[i].Value == second.Routes[i].Value; same != (i != 70) {
			t.Errorf("route %d is the same: %v", i, same)
		}
		before, after := first.Routes[i].Position(first.Routes[i].Value.Name.Mark), second.Routes[i].Position(second.Routes[i].Value.Name.Mark)
		if after.Line != before.Line+1 || after.Column != before.Column {
			t.Errorf("route %d: %v was %v", i, after, before)
		}
		if p := second.Routes[i].Problem(second.Routes[i].Value.Name.Mark, "x"); p.Quote != fmt.Sprintf("  - name: route-%d", i) {
			t.Errorf("route %d: the quote is %q", i, p.Quote)
		}
	}
	if first.Hash == second.Hash {
		t.Error("the hash is the same")
	}
}

// processTime is what the process has used of the processors.
func processTime(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestCommentsChangeNothing puts comments and blank lines between entries.
func TestCommentsChangeNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	text := "listeners: [{ name: web, address: \":1\" }]\npolicies:\n  - a: {}\nconsumers: [{ name: c }]\nroutes:\n  - name: a\n    upstream: b\n  - name: c\n    upstream: d\n"
	cache := &Cache{}
	write(t, filepath.Dir(path), "sluice.yaml", text)
	first, err := Load(path, cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{
		strings.ReplaceAll(text, "routes:", "# more\n\nroutes:"),
		strings.ReplaceAll(text, "  - name: c", "\n      # deep\n# x\n  - name: c"),
		text + "\n\n# the end",
		"# the beginning\n" + text,
		text,
	} {
		write(t, filepath.Dir(path), "sluice.yaml", change)
		now, err := Load(path, cache)
		if err != nil {
			t.Fatal(err)
		}
		if now.Policies[0].Value != first.Policies[0].Value || now.Consumers[0].Value != first.Consumers[0].Value || now.Routes[1].Value != first.Routes[1].Value {
			t.Errorf("%q: something was decoded again", change)
		}
		if now.Routes[0].Value != first.Routes[0].Value {
			t.Errorf("%q: the first route was decoded again", change)
		}
		first = now
	}
}

func BenchmarkLoad(b *testing.B) {
	path := write(b, b.TempDir(), "sluice.yaml", manyRoutes(100_000))
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Load(path, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			cache := &Cache{}
			doc, err := Load(path, cache)
			if err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(doc.Routes)), "B/route")
			runtime.KeepAlive(cache)
		}
	})
	b.Run("one_changed", func(b *testing.B) {
		b.ReportAllocs()
		cache := &Cache{}
		text := manyRoutes(100_000)
		texts := [...]string{text, strings.Replace(text, "/v1/things50000/", "/v2/things50000/", 1)}
		spent := time.Duration(0)
		if _, err := Load(path, cache); err != nil {
			b.Fatal(err)
		}
		n := 0
		for b.Loop() {
			b.StopTimer()
			n++
			write(b, filepath.Dir(path), "sluice.yaml", texts[n%2])
			runtime.GC()
			b.StartTimer()
			before := processTime(b)
			if _, err := Load(path, cache); err != nil {
				b.Fatal(err)
			}
			spent += processTime(b) - before
		}
		b.ReportMetric(float64(spent.Milliseconds())/float64(n), "cpu-ms/op")
	})
}
