package compile

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/config"
)

func manyRoutes(n int) string {
	var b strings.Builder
	b.WriteString("listeners:\n  - name: web\n    address: \":8080\"\nupstreams:\n  - name: orders\n    endpoints: [http://10.0.0.1:80]\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: route-%d\n    match:\n      host: api%d.example.com\n      path: /v1/things%d/**\n      methods: [GET, POST]\n    policies:\n      - change: {}\n    upstream: orders\n", i, i%100, i)
	}
	return b.String()
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

// BenchmarkReload compiles 100,000 routes of which one has changed.
func BenchmarkReload(b *testing.B) {
	b.ReportAllocs()
	e := newEdited(b)
	text := manyRoutes(100_000)
	texts := [...]string{text, strings.Replace(text, "/v1/things50000/", "/v2/things50000/", 1)}
	old := e.must(texts[0])
	spent, n := time.Duration(0), 0
	for b.Loop() {
		b.StopTimer()
		n++
		if err := os.WriteFile(e.path, []byte(texts[n%2]), 0o644); err != nil {
			b.Fatal(err)
		}
		doc, err := config.Load(e.path, &e.cache)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		b.StartTimer()
		before := processTime(b)
		now, err := e.compiler.Compile(doc, nil)
		if err != nil || now.Built != 1 {
			b.Fatal(err, now.Built)
		}
		if err := old.Snapshot.Close(); err != nil {
			b.Fatal(err)
		}
		spent += processTime(b) - before
		old = now
	}
	b.ReportMetric(float64(spent.Milliseconds())/float64(n), "cpu-ms/op")
}
