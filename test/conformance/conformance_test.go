package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// bench is a gateway with one listener in front of one origin.
type bench struct {
	web     string
	origin  *rig.Origin
	gateway *rig.Gateway
}

func newBench(t *testing.T) *bench {
	t.Helper()
	web, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{web: web}
	if b.origin, err = rig.NewOrigin(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.origin.Close)
	config := fmt.Sprintf(`
admin: { address: %q }
listeners: [{ name: web, address: %q }]
upstreams: [{ name: origin, endpoints: ["http://%s"], retry: { attempts: 0 } }]
routes: [{ name: all, upstream: origin }]
`, admin, web, b.origin.Address)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if b.gateway, err = rig.Start(dir, "config.yaml", admin, "", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop(t) })
	if err := b.gateway.Ready(); err != nil {
		t.Fatalf("%v\n%s", err, b.gateway.Log())
	}
	return b
}

func (b *bench) stop(t *testing.T) {
	defer b.gateway.Kill()
	if err := b.gateway.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
		return
	}
	code, err := b.gateway.Wait()
	if err != nil || code != 0 || strings.Contains(b.gateway.Log(), "panic") {
		t.Errorf("the gateway ended with %d, %v\n%s", code, err, b.gateway.Log())
	}
}

func (b *bench) dial(t *testing.T) *rig.Conn {
	t.Helper()
	c, err := rig.Dial(b.web, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Drop)
	return c
}

// answer reads one answer.
func answer(c *rig.Conn, method string) (*rig.Message, error) {
	r, err := c.Reader()
	if err != nil {
		return nil, err
	}
	m, err := rig.ReadHead(r)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return m, m.ReadBody(r, method == "HEAD")
}

const (
	fine  = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	probe = "GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n"
)

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.origin.Answer(fine)
	for _, c := range RefusedRequests {
		t.Run(c.Name, func(t *testing.T) {
			if err := b.refuses(t, c); err != nil {
				t.Errorf("%s: %q\n%v", c.Rule, c.Bytes, err)
			}
		})
	}
}

// refuses sends the bytes and a whole request behind them.
func (b *bench) refuses(t *testing.T, c Request) error {
	heads, requests := b.origin.Heads(), b.origin.Requests()
	client := b.dial(t)
	client.Send(c.Bytes + probe)
	m, err := answer(client, "")
	if err != nil {
		return err
	}
	if m.Status() != c.Status {
		return fmt.Errorf("wanted %d, got\n%s", c.Status, m)
	}
	if got := m.Value("Content-Type"); got != "application/problem+json" {
		return fmt.Errorf("the error is of type %q", got)
	}
	if c.Stays {
		if m, err = answer(client, ""); err != nil || m.Status() != 200 {
			return fmt.Errorf("the connection should have been kept: %w", err)
		}
		heads, requests = heads+1, requests+1
	} else {
		if m.Value("Connection") != "close" {
			return fmt.Errorf("no Connection: close in\n%s", m)
		}
		if err := client.Closed(); err != nil {
			return fmt.Errorf("the connection should have been closed: %w", err)
		}
	}
	// Heads of requests that broke off in their bodies are counted some time later.
	if !c.Body && b.origin.Heads() != heads || b.origin.Requests() != requests {
		return fmt.Errorf("the origin got something: %s", b.origin.Last())
	}
	return nil
}

func TestAcceptedRequests(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.origin.Answer(fine)
	for _, c := range AcceptedRequests {
		t.Run(c.Name, func(t *testing.T) {
			before := b.origin.Requests()
			client := b.dial(t)
			client.Send(c.Bytes)
			m, err := answer(client, "")
			if err != nil || m.Status() != 200 {
				t.Fatalf("%s: %q: %v %s", c.Rule, c.Bytes, err, m)
			}
			if n := b.origin.Requests() - before; n != 1 {
				t.Fatalf("the origin got %d requests", n)
			}
			if err := c.compare(b.origin.Last()); err != nil {
				t.Errorf("%s: %q\n%v; the origin got\n%s", c.Rule, c.Bytes, err, b.origin.Last())
			}
		})
	}
}

func (c *Accepted) compare(got *rig.Message) error {
	if got.Line != c.Line {
		return fmt.Errorf("wanted the request line %q", c.Line)
	}
	if err := compareFields(c.Has, c.Lacks, got.Fields); err != nil {
		return err
	}
	if got.Body != c.Body {
		return fmt.Errorf("wanted the body %q", c.Body)
	}
	return compareFields(c.Trailers, c.LacksTrailer, got.Trailers)
}

// compareFields compares fields; several of a name are joined by " | ".
func compareFields(has map[string]string, lacks []string, got []rig.Field) error {
	for name, want := range has {
		values := rig.Values(got, name)
		if len(values) == 0 || strings.Join(values, " | ") != want {
			return fmt.Errorf("wanted %s: %s, got %q", name, want, values)
		}
	}
	for _, name := range lacks {
		if values := rig.Values(got, name); len(values) > 0 {
			return fmt.Errorf("there must be no %s, got %q", name, values)
		}
	}
	return nil
}

// play lets the origin answer one request with the bytes of a case.
func (b *bench) play(t *testing.T, c Answer) (*rig.Message, *rig.Conn) {
	t.Helper()
	method := c.Method
	if method == "" {
		method = "GET"
	}
	client := b.dial(t)
	client.Send(method + " / HTTP/1.1\r\nHost: example.com\r\n\r\n")
	conn, err := b.origin.Accept()
	if err != nil {
		t.Fatalf("%v: was the connection of the case before kept?", err)
	}
	t.Cleanup(conn.Drop)
	r, err := conn.Reader()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rig.ReadHead(r); err != nil {
		t.Fatal(err)
	}
	conn.Send(c.Bytes)
	if c.Closes {
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	m, err := answer(client, method)
	for err == nil && m.Status() < 200 {
		m, err = answer(client, method)
	}
	if err != nil {
		t.Fatalf("%s: %q: %v", c.Rule, c.Bytes, err)
	}
	return m, conn
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range BadAnswers {
		t.Run(c.Name, func(t *testing.T) {
			m, conn := b.play(t, c)
			// Where the fault was seen before anything had been sent, a 502 is better.
			wanted := []int{c.Status}
			if c.Broken {
				wanted = append(wanted, 502)
			}
			if !slices.Contains(wanted, m.Status()) {
				t.Errorf("%s: %q: wanted %d, got\n%s", c.Rule, c.Bytes, c.Status, m)
			}
			if m.Status() == 502 && m.Value("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %q: the origin's answer went through:\n%s", c.Rule, c.Bytes, m)
			}
			if m.Status() != 502 && c.Broken && m.Incomplete == nil {
				t.Errorf("%s: %q: the client cannot see that the answer has no end:\n%s", c.Rule, c.Bytes, m)
			}
			if err := conn.Closed(); err != nil {
				t.Errorf("%s: %q: the connection to the origin: %v", c.Rule, c.Bytes, err)
			}
		})
	}
}

func TestSurplusCostsTheConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range Surplus {
		t.Run(c.Name, func(t *testing.T) {
			m, conn := b.play(t, c)
			if m.Status() != c.Status || m.Incomplete != nil || m.Body != "hello" && m.Body != "" {
				t.Errorf("%s: %q: wanted %d, got\n%s", c.Rule, c.Bytes, c.Status, m)
			}
			if err := conn.Closed(); err != nil {
				t.Errorf("%s: %q: the connection to the origin: %v", c.Rule, c.Bytes, err)
			}
		})
	}
}

func TestGoodAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range GoodAnswers {
		t.Run(c.Name, func(t *testing.T) {
			m, conn := b.play(t, c)
			if m.Status() != c.Status || m.Body != "hello" || m.Incomplete != nil {
				t.Errorf("%s: %q: wanted %d and hello, got\n%s", c.Rule, c.Bytes, c.Status, m)
			}
			if err := conn.Reset(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A table with two cases of one name hides one of them in the output.
func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range names() {
		if seen[name] {
			t.Errorf("%q stands twice in one table", name)
		}
		seen[name] = true
	}
}

func names() []string {
	var all []string
	for _, c := range RefusedRequests {
		all = append(all, "refused: "+c.Name)
	}
	for _, c := range AcceptedRequests {
		all = append(all, "accepted: "+c.Name)
	}
	for table, answers := range map[string][]Answer{"bad": BadAnswers, "surplus": Surplus, "good": GoodAnswers} {
		for _, c := range answers {
			all = append(all, table+": "+c.Name)
		}
	}
	return all
}
