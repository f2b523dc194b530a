package requestlimits

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

// chunks is a body whose length nobody knows.
type chunks struct {
	list    []string
	end     error
	trailer *message.Header
	closed  int
	ready   bool
}

func (c *chunks) Next() ([]byte, error) {
	if len(c.list) == 0 {
		return nil, c.end
	}
	chunk := c.list[0]
	c.list = c.list[1:]
	return []byte(chunk), nil
}

func (c *chunks) Length() int64            { return -1 }
func (c *chunks) Trailer() *message.Header { return c.trailer }
func (c *chunks) Close() error             { c.closed++; return nil }
func (c *chunks) Ready() bool              { return c.ready }

func hooks(t *testing.T, c Config) policy.Hooks {
	t.Helper()
	rooms := 0
	h, err := build(&c, &policy.Env{Rooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func small() Config {
	return Config{Body: 10, Header: 60, HeaderFields: 3, Target: 20, Query: 8, PathSegments: 3}
}

func TestHeads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, query string
		fields            []string
		body              message.Body
		want              *message.Problem
		detail            string
	}{
		{"nothing much", "/", "", nil, nil, nil, ""},
		{"target just short enough", "/" + strings.Repeat("a", 19), "", nil, nil, nil, ""},
		{"target too long", "/" + strings.Repeat("a", 20), "", nil, nil, message.TargetTooLong, "20B"},
		{"target just short enough with its query", "/" + strings.Repeat("a", 14), "a=1", nil, nil, nil, ""},
		{"target with its query too long", "/" + strings.Repeat("a", 15), "a=11", nil, nil, message.TargetTooLong, "20B"},
		{"query just short enough", "/", "12345678", nil, nil, nil, ""},
		{"query too long", "/", "123456789", nil, nil, message.TargetTooLong, "8B"},
		{"as deep as allowed", "/a/b/c", "", nil, nil, nil, ""},
		{"too deep", "/a/b/c/", "", nil, nil, message.TargetTooLong, "3 segments"},
		{"many fields", "/", "", []string{"a", "b", "c"}, nil, nil, ""},
		{"too many fields", "/", "", []string{"a", "b", "c", "d"}, nil, message.HeaderTooLarge, "3 header fields"},
		{"large header", "/", "", []string{strings.Repeat("a", 55)}, nil, nil, ""},
		{"too large a header", "/", "", []string{strings.Repeat("a", 56)}, nil, message.HeaderTooLarge, "60B"},
		{"the largest body", "/", "", nil, message.NewBytes(make([]byte, 10)), nil, ""},
		{"too large a body", "/", "", nil, message.NewBytes(make([]byte, 11)), message.RequestTooLarge, "10B"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := &message.Exchange{}
			x.Request.Path, x.Request.RawPath, x.Request.Query, x.Request.HasQuery = c.path, c.path, c.query, c.query != ""
			for _, value := range c.fields {
				x.Request.Header.Append("a", value)
			}
			x.Request.Body = c.body
			v := hooks(t, small()).OnRequest(x)
			if c.want == nil {
				if v != message.Next || x.Request.Body != c.body {
					t.Fatalf("verdict %v, problem %v", v, x.Problem())
				}
				return
			}
			if v != message.Reply || !errors.Is(x.Problem(), c.want) || !strings.Contains(x.Problem().Detail, c.detail) {
				t.Fatalf("verdict %v, problem %v", v, x.Problem())
			}
			if got, want := x.Problem().CloseConnection, c.want == message.RequestTooLarge; got != want {
				t.Errorf("the connection is closed: %v, want %v", got, want)
			}
		})
	}
}

func TestUndeclaredBodies(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		list []string
		end  error
		read string
		want error
	}{
		{"empty", nil, io.EOF, "", io.EOF},
		{"short", []string{"abc"}, io.EOF, "abc", io.EOF},
		{"just short enough", []string{"12345", "67890"}, io.EOF, "1234567890", io.EOF},
		{"one byte too long", []string{"12345", "678901"}, io.EOF, "12345", message.RequestTooLarge},
		{"one long chunk", []string{"12345678901"}, io.EOF, "", message.RequestTooLarge},
		{"broken", []string{"12345"}, broken, "12345", broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inner := &chunks{list: c.list, end: c.end, trailer: &message.Header{}}
			x := &message.Exchange{}
			x.Request.Body = inner
			if v := hooks(t, small()).OnRequest(x); v != message.Next {
				t.Fatalf("verdict %v", v)
			}
			body, read := x.Request.Body, ""
			var err error
			for err == nil {
				var chunk []byte
				chunk, err = body.Next()
				read += string(chunk)
			}
			if read != c.read || !errors.Is(err, c.want) {
				t.Errorf("read %q, %v; want %q, %v", read, err, c.read, c.want)
			}
			if _, again := body.Next(); again != err {
				t.Errorf("then %v", again)
			}
			if body.Length() != -1 || body.Trailer() != inner.trailer || body.Close() != nil || inner.closed != 1 {
				t.Error("length, trailers and close are not those of the body inside")
			}
		})
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	inner := &chunks{list: []string{"12345678901"}}
	b := &countedBody{inner: inner, left: 10, tooLarge: message.RequestTooLarge}
	if b.Ready() {
		t.Error("ready before there is anything")
	}
	inner.ready = true
	if !b.Ready() {
		t.Error("not ready though the body inside is")
	}
	inner.ready = false
	if _, err := b.Next(); err == nil || !b.Ready() {
		t.Error("an error that is known is ready")
	}
}

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

func TestAllocations(t *testing.T) {
	g := policytest.New(t, "policies:\n  - request_limits: { path_segments: 3 }\n", Kind)
	g.Client = netip.Addr{} // Fill would make a text of it.
	inner := &chunks{end: io.EOF}
	for _, path := range []string{"/a", "/a/b/c/d"} {
		policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) {
			g.Fill(x, "POST", path, "a", "b")
			x.Request.Body = inner
		})
	}
}
