package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// sampleExchange is one that is over, with all that a line can show.
func sampleExchange() *message.Exchange {
	x := new(message.Exchange)
	x.Begin(&fakeWire{in: 345, out: 6789})
	x.Client.Address = netip.MustParseAddr("192.0.2.7")
	x.Client.AddressText = "192.0.2.7"
	x.Client.Listener = "web"
	x.Client.TLS = &message.TLS{Version: "TLS 1.3", ServerName: "api.example.com", Certificate: &message.ClientCertificate{
		Subject: `CN=O"Neill`, Fingerprint: "9f86d0", Verified: true,
	}}
	x.Request.Method = "GET"
	x.Request.Scheme = "http"
	x.Request.Authority = "api.example.com"
	x.Request.Path = "/orders/17"
	x.Request.RawPath = "/orders/./17"
	x.Request.Query = "page=2&api_key=s3cret"
	x.Request.HasQuery = true
	x.Request.Protocol = "HTTP/1.1"
	x.Request.Header.Append("Accept", "*/*")
	x.Request.Header.Append("Authorization", "Bearer s3cret")
	x.Request.Header.Append("Cookie", "id=s3cret")
	x.Request.Header.Append("User-Agent", `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36`)
	x.Request.Header.Append("Referer", "https://www.example.com/list?token=s3cret&a=b")
	x.Facts.RequestID = "01JD8Z0V6Q5W8K6Y2M4T9R3E1A"
	x.Facts.Route, x.Facts.Upstream, x.Facts.Endpoint, x.Facts.Tries = "orders", "orders", "10.0.0.7:8080", 1
	x.Facts.Fallback, x.Facts.FallbackCause = "spare", "503"
	x.Facts.UpstreamGroup = "everywhere"
	x.Facts.Consumer = &message.Consumer{Name: "acme"}
	x.Response.Status = 200
	x.Times.Started = time.Date(2026, 11, 23, 9, 8, 7, 6_999_999, time.FixedZone("", 3600))
	x.Times.Connected = 40 * time.Microsecond
	x.Times.FirstByte = 12 * time.Millisecond
	x.Times.Done = 12345 * time.Microsecond
	return x
}

const sampleLine = `{"time":"2026-11-23T08:08:07.006Z","client":"192.0.2.7","listener":"web","protocol":"HTTP/1.1",` +
	`"scheme":"http","tls_version":"TLS 1.3","tls_server_name":"api.example.com","client_certificate_subject":"CN=O\"Neill",` +
	`"client_certificate_fingerprint":"9f86d0","method":"GET","host":"api.example.com","path":"/orders/./17","query":"page=2&api_key=***",` +
	`"user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",` +
	`"referer":"https://www.example.com/list?token=***&a=b","request_id":"01JD8Z0V6Q5W8K6Y2M4T9R3E1A","consumer":"acme",` +
	`"route":"orders","upstream":"orders","upstream_group":"everywhere","endpoint":"10.0.0.7:8080","fallback":"spare","fallback_cause":"503","status":200,"tries":1,` +
	`"bytes_in":345,"bytes_out":6789,"duration_us":12345,"upstream_connect_us":40,"upstream_first_byte_us":12000}` + "\n"

func TestLine(t *testing.T) {
	t.Parallel()
	var c clock
	if got := string(appendLine(nil, sampleExchange(), &c)); got != sampleLine {
		t.Errorf("got\n%swant\n%s", got, sampleLine)
	}
}

func TestBareLine(t *testing.T) {
	t.Parallel()
	var c clock
	x := new(message.Exchange)
	x.Begin(&fakeWire{})
	x.Times.Started = time.Unix(0, 0)
	x.Deny(message.BadRequest)
	want := `{"time":"1970-01-01T00:00:00.000Z","client":"","listener":"","protocol":"","scheme":"","method":"","host":"","path":"",` +
		`"problem":"bad_request","problem_source":"client","status":400,"bytes_in":0,"bytes_out":0,"duration_us":0}` + "\n"
	if got := string(appendLine(nil, x, &c)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A line has the documented fields in the documented order and with the
// documented types.
func TestLogFields(t *testing.T) {
	t.Parallel()
	var c clock
	full, bare := sampleExchange(), new(message.Exchange)
	full.Deny(message.Internal)
	bare.Begin(&fakeWire{})
	var always, all []string
	types := map[string]string{}
	for _, f := range LogFields() {
		all = append(all, f.Name)
		types[f.Name] = f.Type
		if f.Always {
			always = append(always, f.Name)
		}
	}
	for _, test := range []struct {
		line []byte
		want []string
	}{{appendLine(nil, full, &c), all}, {appendLine(nil, bare, &c), always}} {
		var got []string
		dec := json.NewDecoder(bytes.NewReader(test.line))
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			value, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			kind := "string"
			if _, ok := value.(float64); ok {
				kind = "integer"
			}
			if kind != types[name.(string)] {
				t.Errorf("%s is a %s", name, kind)
			}
			got = append(got, name.(string))
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("got  %v\nwant %v", got, test.want)
		}
	}
}

func TestPathNeverShowsAQuery(t *testing.T) {
	t.Parallel()
	var c clock
	x := sampleExchange()
	x.Request.RawPath = "/a?token=s3cret"
	if got := string(appendLine(nil, x, &c)); strings.Contains(got, "s3cret") || !strings.Contains(got, `"path":"/a",`) {
		t.Error(got)
	}
	x.Request.RawPath = ""
	if got := string(appendLine(nil, x, &c)); !strings.Contains(got, `"path":"/orders/17",`) {
		t.Error(got)
	}
}

func TestLongValuesAreCut(t *testing.T) {
	t.Parallel()
	var c clock
	x := sampleExchange()
	long := strings.Repeat("\x01", 3*maxLogged)
	x.Request.RawPath, x.Request.Query, x.Request.Authority, x.Facts.RequestID = "/"+long, "a="+long, long, long
	x.Request.Header.Set("User-Agent", strings.Repeat("ü", maxLogged))
	x.Request.Header.Set("Referer", strings.Repeat("x", 3*maxLogged))
	line := appendLine(nil, x, &c)
	if !json.Valid(line) {
		t.Fatalf("no JSON: %s", line)
	}
	if len(line) > 60<<10 {
		t.Errorf("a line of %d bytes", len(line))
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"path", "query", "host", "request_id", "user_agent", "referer"} {
		if s := got[name].(string); !strings.HasSuffix(s, "…") || len(s) != maxLogged+len("…") {
			t.Errorf("%s has %d bytes", name, len(s))
		}
	}
}

// FuzzLine checks that a line is one line and an object, whatever a client sends.
func FuzzLine(f *testing.F) {
	f.Add("GET", "api.example.com", "/a", "b=c", "agent", "https://www.example.com/?a#b", "id", "route")
	f.Add("\"", "\n", "\xff?", "token=\"", "\\", "\u2028", "\x00", "}")
	f.Fuzz(func(t *testing.T, method, host, path, query, agent, referer, id, route string) {
		var c clock
		x := sampleExchange()
		x.Request.Method, x.Request.Authority, x.Request.RawPath, x.Request.Query = method, host, path, query
		x.Facts.RequestID, x.Facts.Route = id, route
		x.Request.Header.Reset()
		x.Request.Header.Append("User-Agent", agent)
		x.Request.Header.Append("Referer", referer)
		line := appendLine(nil, x, &c)
		if !json.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("%q", line)
		}
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	var c clock
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(0, 999_999_999), time.Unix(1, 0), time.Unix(0, 1e6), time.Unix(1_800_000_000, 12e6),
		time.Unix(1_800_000_000, 13e6), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		if got, want := string(c.append(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// sink is an output whose writes can be held up and refused.
type sink struct {
	mu     sync.Mutex
	data   bytes.Buffer
	fail   func(p []byte) (int, error)
	hold   chan struct{} // nil: nothing is held up
	closed bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		n, err := s.fail(p)
		s.data.Write(p[:n])
		return n, err
	}
	return s.data.Write(p)
}

func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.String()
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

func shut(t *testing.T, l *AccessLog) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestFlushedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := new(sink)
		l := newAccessLog(out, nil, NewRegistry(), silent())
		defer shut(t, l)
		l.Log(sampleExchange())
		synctest.Wait()
		if out.String() != "" {
			t.Error("a single line was written at once")
		}
		time.Sleep(logFlush)
		synctest.Wait()
		if out.String() != sampleLine {
			t.Errorf("after %v there is %q", logFlush, out.String())
		}
	})
}

func TestFullBufferIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := new(sink)
		l := newAccessLog(out, nil, NewRegistry(), silent())
		defer shut(t, l)
		for range logBuffer/len(sampleLine) + 1 {
			l.Log(sampleExchange())
		}
		synctest.Wait()
		if n := len(out.String()); n < logBuffer {
			t.Errorf("%d bytes were written", n)
		}
	})
}

// Lines of many connections all arrive, each whole, and those of one connection in order.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	out, r := new(sink), NewRegistry()
	l := newAccessLog(out, nil, r, silent())
	const connections, each = 16, 1000
	var all sync.WaitGroup
	for c := range connections {
		all.Go(func() {
			x := sampleExchange()
			x.Shard, x.Client.Listener = uint32(c), fmt.Sprint(c)
			for i := range each {
				x.Facts.Tries = i + 1
				l.Log(x)
				if i%100 == 0 {
					if err := l.Reopen(context.Background()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	shut(t, l)
	last := map[string]int{}
	lines := 0
	for line := range strings.Lines(out.String()) {
		var got struct {
			Listener string
			Tries    int
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if got.Tries != last[got.Listener]+1 {
			t.Fatalf("connection %s: line %d after line %d", got.Listener, got.Tries, last[got.Listener])
		}
		last[got.Listener] = got.Tries
		lines++
	}
	if lines != connections*each || l.lines.Value() != int64(lines) || l.queueFull.Value() != 0 {
		t.Errorf("%d lines, counted %d, dropped %d", lines, l.lines.Value(), l.queueFull.Value())
	}
}

// A pipe that nobody reads costs lines, never an exchange's time; when it is read
// again the log goes on with whole lines.
func TestBlockedOutput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &sink{hold: make(chan struct{})}
		l := newAccessLog(out, nil, NewRegistry(), silent())
		const lines = (logQueue + 4) * (logBuffer/len(sampleLine) + 1)
		x := sampleExchange()
		for range lines {
			l.Log(x)
		}
		if l.queueFull.Value() == 0 {
			t.Error("nothing was dropped")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.Reopen(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("reopening gives %v", err)
		}
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closing gives %v", err)
		}
		close(out.hold)
		shut(t, l)
		written := strings.Count(out.String(), sampleLine)
		if written*len(sampleLine) != len(out.String()) {
			t.Error("something else than whole lines was written")
		}
		if got := written + int(l.queueFull.Value()); got != lines || l.lines.Value() != int64(written) {
			t.Errorf("%d written and %d dropped make %d of %d", written, l.queueFull.Value(), got, lines)
		}
	})
}

// A full disk costs the lines that did not fit, and a torn line spoils no other.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var complaints bytes.Buffer
		full := true
		out := &sink{fail: func(p []byte) (int, error) {
			if full {
				return min(len(p), len(sampleLine)+10), syscall.ENOSPC
			}
			return len(p), nil
		}}
		l := newAccessLog(out, nil, NewRegistry(), slog.New(slog.NewTextHandler(&complaints, nil)))
		for range 3 {
			l.Log(sampleExchange())
		}
		time.Sleep(2 * logFlush)
		synctest.Wait()
		if l.writeError.Value() != 2 || l.lines.Value() != 1 {
			t.Errorf("%d lines lost, %d written", l.writeError.Value(), l.lines.Value())
		}
		out.mu.Lock()
		full = false
		out.mu.Unlock()
		l.Log(sampleExchange())
		shut(t, l)
		if got, want := out.String(), sampleLine+sampleLine[:10]+"\n"+sampleLine; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if !out.closed {
			t.Error("the output was not closed")
		}
		if got := complaints.String(); !strings.Contains(got, "no space left") || !strings.Contains(got, "lines_lost=2") {
			t.Errorf("the log says %q", got)
		}
	})
}

func TestLogAfterClose(t *testing.T) {
	t.Parallel()
	out := new(sink)
	l := newAccessLog(out, nil, NewRegistry(), silent())
	shut(t, l)
	l.Log(sampleExchange())
	shut(t, l)
	if out.String() != "" || l.queueFull.Value() != 1 {
		t.Error("a line was written after the end, or not counted")
	}
	if err := l.Reopen(context.Background()); err == nil {
		t.Error("a closed log was reopened")
	}
}

func TestNoAccessLog(t *testing.T) {
	t.Parallel()
	var l *AccessLog
	l.Log(sampleExchange())
	if err := errors.Join(l.Reopen(context.Background()), l.Close(context.Background())); err != nil {
		t.Error(err)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := OpenAccessLog(path, NewRegistry(), silent())
	if err != nil {
		t.Fatal(err)
	}
	l.Log(sampleExchange())
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.Log(sampleExchange())
	l.Log(sampleExchange())
	shut(t, l)
	for name, want := range map[string]string{path + ".1": sampleLine, path: sampleLine + sampleLine} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %v %q", name, err, got)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("others may use the log: %v %v", info.Mode(), err)
	}
}

// A log that cannot be opened again goes on in the old file.
func TestFailedRotation(t *testing.T) {
	t.Parallel()
	out, missing := new(sink), errors.New("no such place")
	l := newAccessLog(out, func() (io.WriteCloser, error) { return nil, missing }, NewRegistry(), silent())
	if err := l.Reopen(context.Background()); !errors.Is(err, missing) {
		t.Errorf("reopening gives %v", err)
	}
	l.Log(sampleExchange())
	shut(t, l)
	if out.String() != sampleLine {
		t.Error("the old output is not used any more")
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"", dir, filepath.Join(dir, "no", "such.log"), pipe} {
		if l, err := OpenAccessLog(output, NewRegistry(), silent()); err == nil {
			shut(t, l)
			t.Errorf("%q was opened", output)
		}
	}
	for _, output := range []string{"stdout", "stderr"} {
		l, err := OpenAccessLog(output, NewRegistry(), silent())
		if err != nil {
			t.Fatal(err)
		}
		shut(t, l)
	}
}

func TestLogDoesNotAllocate(t *testing.T) {
	l := newAccessLog(new(countingSink), nil, NewRegistry(), silent())
	x := sampleExchange()
	for range 1000 {
		l.Log(x)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Log(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	shut(t, l)
}

// countingSink throws away what is written.
type countingSink struct{}

func (*countingSink) Write(p []byte) (int, error) { return len(p), nil }
func (*countingSink) Close() error                { return nil }

func BenchmarkAccessLog(b *testing.B) {
	l := newAccessLog(new(countingSink), nil, NewRegistry(), silent())
	x := sampleExchange()
	b.ReportAllocs()
	b.SetBytes(int64(len(sampleLine)))
	for b.Loop() {
		l.Log(x)
	}
	b.StopTimer()
	_ = l.Close(context.Background())
	b.ReportMetric(float64(l.queueFull.Value())/float64(b.N), "dropped/op")
}
