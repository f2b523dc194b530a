package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

// part is a body that comes in chunks. Each is overwritten when the next one is
// asked for, as a wire does.
type part struct {
	list    []string
	end     error
	length  int64
	ready   func(left int) bool
	trailer *message.Header
	room    []byte
	closed  int
}

func (p *part) Next() ([]byte, error) {
	for i := range p.room {
		p.room[i] = '#'
	}
	if len(p.list) == 0 {
		return nil, p.end
	}
	p.room = append(p.room[:0], p.list[0]...)
	p.list = p.list[1:]
	return p.room, nil
}

func (p *part) Length() int64            { return p.length }
func (p *part) Trailer() *message.Header { return p.trailer }
func (p *part) Close() error             { p.closed++; return nil }
func (p *part) Ready() bool              { return p.ready != nil && p.ready(len(p.list)) }

// decoder undoes a coding as the bytes arrive.
func decoder(t testing.TB, name string, from io.Reader) io.Reader {
	t.Helper()
	switch name {
	case "zstd":
		d, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	case "br":
		return brotli.NewReader(from)
	}
	d, err := gzip.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func decode(t testing.TB, name, text string) string {
	t.Helper()
	plain, err := io.ReadAll(decoder(t, name, strings.NewReader(text)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(plain)
}

func gateway(t testing.TB, settings string) *policytest.Gateway {
	return policytest.New(t, "policies:\n  - compress: { "+settings+" }\n", Kind)
}

// answer is an origin that answers with a body and fields.
func answer(status int, body func() message.Body, fields ...string) func(*message.Exchange) error {
	return func(x *message.Exchange) error {
		x.Response.Status = status
		for i := 0; i < len(fields); i += 2 {
			x.Response.Header.Append(fields[i], fields[i+1])
		}
		if body != nil {
			x.Response.Body = body()
		}
		return nil
	}
}

func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"name":"item %x","price":%d.%02d,"created":"2026-11-%02dT10:%02d:00Z"},`, i*7919, i*104729*31, i*37%1000, i%100, i%28+1, i%60)
	}
	return b.String()[:n]
}

func TestWhatIsEncoded(t *testing.T) {
	t.Parallel()
	long := func() message.Body { return message.NewBytes([]byte(text(5000))) }
	short := func() message.Body { return message.NewBytes([]byte(text(1023))) }
	unknown := func() message.Body { return &part{list: []string{"x"}, end: io.EOF, length: -1} }
	js := []string{"Content-Type", "application/json; charset=utf-8"}
	with := func(fields ...string) []string { return append(append([]string{}, js...), fields...) }
	for _, c := range []struct {
		name    string
		status  int
		body    func() message.Body
		fields  []string
		request []string
		encoded bool
		vary    string
	}{
		{"long", 200, long, js, nil, true, "Accept-Encoding"},
		{"short", 200, short, js, nil, false, "Accept-Encoding"},
		{"of unknown length", 200, unknown, js, nil, true, "Accept-Encoding"},
		{"an error", 500, long, js, nil, true, "Accept-Encoding"},
		{"no body", 200, nil, js, nil, false, "Accept-Encoding"},
		{"no type", 200, long, nil, nil, false, ""},
		{"an empty type", 200, long, []string{"Content-Type", ""}, nil, false, ""},
		{"an image", 200, long, []string{"Content-Type", "image/png"}, nil, false, ""},
		{"SVG", 200, long, []string{"Content-Type", "IMAGE/SVG+XML"}, nil, true, "Accept-Encoding"},
		{"a suffix", 200, long, []string{"Content-Type", "application/vnd.example.v1+json"}, nil, true, "Accept-Encoding"},
		{"nothing but a suffix", 200, long, []string{"Content-Type", "application/+json"}, nil, false, ""},
		{"gRPC", 200, long, []string{"Content-Type", "application/grpc+json"}, nil, false, ""},
		{"encoded by the origin", 200, long, with("content-encoding", "br"), nil, false, "Accept-Encoding"},
		{"no-transform", 200, long, with("Cache-Control", "public", "Cache-Control", "max-age=5, no-transform"), nil, false, ""},
		{"a part", 206, long, with("Content-Range", "bytes 0-4999/9000"), nil, false, "Accept-Encoding"},
		{"a part by its field", 200, long, with("Content-Range", "bytes 0-4999/9000"), nil, false, "Accept-Encoding"},
		{"a digest", 200, long, with("Content-Digest", "sha-256=:YQ==:"), nil, false, "Accept-Encoding"},
		{"the client wants no transformation", 200, long, js, []string{"Cache-Control", "no-transform"}, false, "Accept-Encoding"},
		{"varies already", 200, long, with("Vary", "Origin, accept-encoding"), nil, true, "Origin, accept-encoding"},
		{"varies with everything", 200, long, with("Vary", "*"), nil, true, "*"},
		{"reset content", 205, nil, js, nil, false, ""},
		{"no content", 204, nil, js, nil, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := gateway(t, "")
			g.Origin = answer(c.status, c.body, c.fields...)
			a := g.Serve(g.Exchange("GET", "/", append([]string{"Accept-Encoding", "gzip, br, zstd"}, c.request...)...))
			if got := a.Header.Get("Content-Encoding") == "zstd"; got != c.encoded {
				t.Errorf("encoded: %v", got)
			}
			if got := a.Header.Joined("Vary"); got != c.vary {
				t.Errorf("Vary: %q, want %q", got, c.vary)
			}
			if c.body == nil {
				return
			}
			plain, _ := message.ReadAll(c.body(), 1<<20)
			got := a.Body
			if c.encoded {
				got = decode(t, "zstd", got)
			}
			if got != string(plain) {
				t.Errorf("%d bytes became %d", len(plain), len(got))
			}
		})
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		length int64
		body   message.Body
		want   string
	}{
		{"long", 5000, nil, "gzip"},
		{"short", 50, nil, ""},
		{"of unknown length", -1, nil, "gzip"},
		{"with a body that nobody sends", -1, message.NewBytes([]byte(text(5000))), "gzip"},
		{"with a short one", -1, message.NewBytes([]byte("hello")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := gateway(t, "")
			g.Origin = func(x *message.Exchange) error {
				x.Response.Status, x.Response.Length, x.Response.Body = 200, c.length, c.body
				x.Response.Header.Append("Content-Type", "text/html")
				x.Response.Header.Append("Accept-Ranges", "bytes")
				return nil
			}
			x := g.Exchange("HEAD", "/", "Accept-Encoding", "gzip")
			a := g.Serve(x)
			if got := a.Header.Get("Content-Encoding"); got != c.want {
				t.Errorf("Content-Encoding: %q", got)
			}
			if encoded := c.want != ""; encoded && (x.Response.Body != nil || x.Response.Length != -1) || encoded == a.Header.Has("Accept-Ranges") {
				t.Errorf("a body, a length (%d) or ranges are announced", x.Response.Length)
			}
		})
	}
}

func TestEntityTags(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{`"a"`: `W/"a"`, `W/"a"`: `W/"a"`, `""`: `W/""`, `a`: `a`, `"`: `"`} {
		g := gateway(t, "minimum_size: 0B")
		g.Origin = answer(200, func() message.Body { return message.NewBytes([]byte("x")) }, "Content-Type", "text/plain", "ETag", tag)
		if got := g.Serve(g.Exchange("GET", "/", "Accept-Encoding", "br")).Header.Get("ETag"); got != want {
			t.Errorf("%s became %s", tag, got)
		}
		if got := g.Serve(g.Exchange("GET", "/")).Header.Get("ETag"); got != tag {
			t.Errorf("%s became %s though nothing is encoded", tag, got)
		}
	}
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ shown, media, want, vary string }{
		{`W/"a"`, "", `W/"a"`, "Accept-Encoding"},
		{`"x", W/"a"`, "text/html", `W/"a"`, "Accept-Encoding"},
		{`"a", W/"a"`, "", `W/"a"`, "Accept-Encoding"},
		{`"a"`, "", `"a"`, "Accept-Encoding"},
		{`W/"b"`, "", `"a"`, "Accept-Encoding"},
		{``, "image/png", `"a"`, ""},
	} {
		g := gateway(t, "")
		fields := []string{"ETag", `"a"`}
		if c.media != "" {
			fields = append(fields, "Content-Type", c.media)
		}
		g.Origin = answer(304, nil, fields...)
		a := g.Serve(g.Exchange("GET", "/", "Accept-Encoding", "gzip", "If-None-Match", c.shown))
		if got := a.Header.Get("ETag"); got != c.want || a.Header.Get("Vary") != c.vary || a.Header.Has("Content-Encoding") {
			t.Errorf("If-None-Match %s: ETag %s, Vary %q", c.shown, got, a.Header.Get("Vary"))
		}
	}
}

// What the origin has sent can be decoded before it sends more.
func TestStreamsFlow(t *testing.T) {
	t.Parallel()
	for c := zstandard; c < codings; c++ {
		for _, length := range []int64{-1, 1000} {
			t.Run(fmt.Sprintf("%s %d", c, length), func(t *testing.T) {
				t.Parallel()
				g := gateway(t, "minimum_size: 0B")
				events := []string{"data: one\n\n", "data: two\n\n", "data: three\n\n"}
				inner := &part{list: append([]string{}, events...), end: io.EOF, length: length}
				g.Origin = answer(200, func() message.Body { return inner }, "Content-Type", "text/event-stream")
				body := start(t, g, c)
				r, w := io.Pipe()
				plain := make(chan string)
				go func() {
					defer close(plain)
					d, buffer := decoder(t, c.String(), r), make([]byte, 100)
					for {
						n, err := d.Read(buffer)
						if n > 0 {
							plain <- string(buffer[:n])
						}
						if err != nil {
							return
						}
					}
				}()
				for i, event := range events {
					chunk, err := body.Next()
					if err != nil || len(inner.list) != len(events)-i-1 {
						t.Fatalf("%v after %d events, %d are left", err, i, len(inner.list))
					}
					go w.Write(bytes.Clone(chunk))
					for got := ""; got != event; {
						more, ok := <-plain
						if got += more; !ok || !strings.HasPrefix(event, got) {
							t.Fatalf("got %q, want %q", got, event)
						}
					}
				}
				last, err := body.Next()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(last); err != nil {
					t.Fatal(err)
				}
				w.Close()
				if more, ok := <-plain; ok {
					t.Errorf("%q more", more)
				}
				if _, err := body.Next(); err != io.EOF {
					t.Errorf("then %v", err)
				}
			})
		}
	}
}

// start returns the answer's body as a wire gets it.
func start(t testing.TB, g *policytest.Gateway, c coding) message.Body {
	t.Helper()
	x := g.Exchange("GET", "/", "Accept-Encoding", c.String())
	h := g.Hooks()
	if h.OnRequest(x) != message.Next || g.Origin(x) != nil || h.OnResponse(x) != message.Next {
		t.Fatal("no answer")
	}
	if got := x.Response.Header.Get("Content-Encoding"); got != c.String() {
		t.Fatalf("Content-Encoding: %q", got)
	}
	return x.Response.Body
}

// Chunks that are there together are encoded together.
func TestNoFlushWhileMoreIsReady(t *testing.T) {
	t.Parallel()
	g := gateway(t, "minimum_size: 0B")
	inner := &part{list: []string{"a", "b", "c", "d"}, end: io.EOF, length: -1, ready: func(left int) bool { return left != 2 && left != 0 }}
	g.Origin = answer(200, func() message.Body { return inner }, "Content-Type", "text/plain")
	body := start(t, g, gz)
	for _, left := range []int{2, 0} {
		if _, err := body.Next(); err != nil || len(inner.list) != left {
			t.Errorf("%v, %d chunks are left, want %d", err, len(inner.list), left)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for c := zstandard; c < codings; c++ {
		g := gateway(t, "minimum_size: 0B")
		inner := &part{list: []string{"a"}, end: io.EOF, length: -1, trailer: &message.Header{}}
		g.Origin = answer(200, func() message.Body { return inner }, "Content-Type", "text/plain")

		body := start(t, g, c)
		if _, err := message.ReadAll(body, 1000); err != nil || body.Trailer() != inner.trailer || body.Length() != -1 {
			t.Errorf("%s: %v, trailer %v, length %d", c, err, body.Trailer(), body.Length())
		}
		if r := body.(message.Ready); !r.Ready() {
			t.Errorf("%s: the end is ready", c)
		}
		if errors.Join(body.Close(), body.Close()) != nil || inner.closed == 0 { // Twice: it must bear that.
			t.Errorf("%s: the inner body is not closed", c)
		}
		if _, err := body.Next(); err != io.EOF {
			t.Errorf("%s: after the end and Close: %v", c, err)
		}

		inner = &part{list: []string{"a", "b"}, end: broken, length: 5000}
		body = start(t, g, c)
		if _, err := message.ReadAll(body, 1000); err != broken {
			t.Errorf("%s: %v, want the inner error", c, err)
		}

		inner = &part{list: []string{"a", "b"}, end: io.EOF, length: -1}
		body = start(t, g, c)
		if _, err := body.Next(); err != nil {
			t.Error(err)
		}
		if body.Close() != nil || inner.closed != 1 {
			t.Errorf("%s: the inner body is not closed", c)
		}
		if _, err := body.Next(); err != errClosed {
			t.Errorf("%s: after Close: %v", c, err)
		}
	}
}

// However a body ends and however often it is closed, its coder goes back once, and
// what was left in it does not reach the next answer.
func TestCodersGoBackOnce(t *testing.T) {
	t.Parallel()
	for c := zstandard; c < codings; c++ {
		g := gateway(t, "minimum_size: 0B")
		plain := text(70_000)
		g.Origin = answer(200, func() message.Body { return message.NewBytes([]byte(plain)) }, "Content-Type", "text/plain")
		for i := range 12 {
			body := start(t, g, c).(*stream)
			mine, home := body.coder, body.home
			body.home = &sync.Pool{}
			switch i % 3 {
			case 0:
				all, err := message.ReadAll(body, 1<<20)
				if err != nil || decode(t, c.String(), string(all)) != plain {
					t.Fatalf("%s: %v", c, err)
				}
			case 1:
				_, _ = body.Next()
			}
			for range 3 {
				_ = body.Close()
			}
			// A pool may lose things, but never return what it was not given.
			if first, second := body.home.Get(), body.home.Get(); first != nil && first != mine || second != nil || body.coder != nil {
				t.Errorf("%s: given back: %p, %p; want %p once", c, first, second, mine)
			}
			home.Put(mine)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	g := gateway(t, "")
	g.Origin = answer(200, func() message.Body { return message.NewBytes([]byte(text(5000))) }, "Content-Type", "text/plain")
	a := g.Serve(g.Exchange("GET", "/", "Accept-Encoding", "br"))
	read := g.Metrics.Value("sluice_compress_read_bytes_total,encoding=br")
	written := g.Metrics.Value("sluice_compress_written_bytes_total,encoding=br")
	if read != 5000 || written != int64(len(a.Body)) || written > 2500 {
		t.Errorf("%d bytes became %d", read, written)
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"encodings: [gzip, deflate]":      `"deflate" is not a coding`,
		"encodings: [gzip, br, gzip]":     "gzip is named twice",
		"encodings: []":                   "encodings",
		"level: 9":                        "is not a level",
		"types: ['*/*']":                  "name the types",
		"types: [json]":                   "is not a media type",
		"types: [text/html; charset=a]":   "write text/html",
		"types: ['text/*html']":           "an asterisk stands for",
		"types: ['application/vnd*+xml']": "an asterisk stands for",
	} {
		_, err := policytest.Build("policies:\n  - compress: { "+settings+" }\n", Kind)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", settings, err, want)
		}
	}
}

// Whole answers cost nothing, the body included.
func TestAllocations(t *testing.T) {
	inner, plain := &message.Bytes{}, []byte(text(4000))
	for c := zstandard; c < codings; c++ {
		g := gateway(t, "")
		h := g.Hooks()
		policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) {
			x.Reset()
			x.Request.Method = "GET"
			x.Request.Header.Append("Accept-Encoding", c.String())
			h.OnRequest(x)
			inner.Reset(plain)
			x.Response.Status, x.Response.Body = 200, inner
			x.Response.Header.Append("Content-Type", "application/json")
			h.OnResponse(x)
			for err := error(nil); err == nil; {
				_, err = x.Response.Body.Next()
			}
			_ = x.Response.Body.Close()
			x.Response.Body = nil
		})
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("hello"), uint64(1), false)
	f.Add([]byte(text(100_000)), uint64(2), true)
	f.Add([]byte{}, uint64(3), true)
	g := map[level]*policytest.Gateway{}
	for l := range levels {
		g[l] = gateway(f, "minimum_size: 0B, level: "+l.String())
	}
	f.Fuzz(func(t *testing.T, plain []byte, seed uint64, known bool) {
		for l := range levels {
			for c := zstandard; c < codings; c++ {
				r := rand.New(rand.NewPCG(seed, uint64(c)))
				inner := &part{end: io.EOF, length: -1, ready: func(int) bool { return r.IntN(2) == 0 }}
				if known {
					inner.length = int64(len(plain))
				}
				for rest := string(plain); rest != ""; {
					n := min(len(rest), 1+r.IntN(1+r.IntN(1+len(rest))))
					inner.list, rest = append(inner.list, rest[:n]), rest[n:]
				}
				g[l].Origin = answer(200, func() message.Body { return inner }, "Content-Type", "text/plain")
				a := g[l].Serve(g[l].Exchange("GET", "/", "Accept-Encoding", c.String()))
				if got := decode(t, c.String(), a.Body); a.BodyError != nil || got != string(plain) {
					t.Fatalf("%s %s: %d bytes became %d (%v)", c, l, len(plain), len(got), a.BodyError)
				}
			}
		}
	})
}

func BenchmarkEncoders(b *testing.B) {
	for l := range levels {
		for c := zstandard; c < codings; c++ {
			for _, size := range []int{4 << 10, 256 << 10} {
				b.Run(fmt.Sprintf("%s/%s/%dKiB", c, l, size>>10), func(b *testing.B) {
					plain, out := []byte(text(size)), &coder{encoder: newEncoder(c, l)}
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						out.out = out.out[:0]
						out.encoder.Reset(out)
						_, _ = out.encoder.Write(plain)
						_ = out.encoder.Close()
					}
					b.ReportMetric(float64(size)/float64(len(out.out)), "ratio")
				})
			}
		}
	}
}
