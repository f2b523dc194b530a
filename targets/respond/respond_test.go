package respond

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

func handler(t *testing.T, c Config) target.Handler {
	t.Helper()
	if c.Status == 0 {
		c.Status = 200
	}
	h, err := build(&c, &target.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func one(name, value string) unit.Map[string] {
	return unit.Map[string]{{Key: name, Value: value}}
}

func exchange() *message.Exchange {
	x := &message.Exchange{}
	x.Request.Method, x.Request.Path = "GET", "/a"
	x.Client.AddressText = "192.0.2.1"
	x.Request.Header.Append("X-Evil", `"</p>`)
	return x
}

func body(t *testing.T, x *message.Exchange) string {
	t.Helper()
	data, err := message.ReadAll(x.Response.Body, 2*MaxBody)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestServe(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.HTML")
	if err := os.WriteFile(page, []byte("<p>{request.path}</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		config     Config
		wantStatus int
		wantType   string
		wantBody   string
	}{
		{"nothing", Config{Status: 204}, 204, "", ""},
		{"text", Config{Body: "ok"}, 200, "text/plain; charset=utf-8", "ok"},
		{"text with a variable", Config{Body: "hello {client.address}"}, 200, "text/plain; charset=utf-8", "hello 192.0.2.1"},
		{"text with braces", Config{Body: `{"a":{"b":1}} {{route}}`}, 200, "text/plain; charset=utf-8", `{"a":{"b":1}} {route}`},
		{"own type", Config{Body: "a: 1", Headers: one("content-type", "application/yaml")}, 200, "application/yaml", "a: 1"},
		{"json", Config{JSON: unit.Any(`{"b":[1,"{client.address}"],"a":{}}`)}, 200, "application/json", `{"b":[1,"192.0.2.1"],"a":{}}`},
		{"json null", Config{JSON: unit.Any(`null`)}, 200, "application/json", `null`},
		{"json is escaped", Config{JSON: unit.Any(`"{request.header.x-evil}"`)}, 200, "application/json", `"\"\u003C/p\u003E"`},
		{"json of another type is escaped", Config{JSON: unit.Any(`"{request.header.x-evil}"`), Headers: one("Content-Type", "text/plain")}, 200, "text/plain", `"\"\u003C/p\u003E"`},
		{"json as a body is escaped", Config{Body: `{"v":"{request.header.x-evil}"}`, Headers: one("Content-Type", "application/problem+JSON; charset=utf-8")}, 200, "application/problem+JSON; charset=utf-8", `{"v":"\"\u003C/p\u003E"}`},
		{"html is escaped", Config{Status: 410, Body: "<p>{request.header.x-evil}</p>", Headers: one("Content-Type", "text/html")}, 410, "text/html", "<p>&#34;&lt;/p&gt;</p>"},
		{"file", Config{File: page}, 200, "text/html; charset=utf-8", "<p>{request.path}</p>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, x := handler(t, test.config), exchange()
			// Twice: what is precomputed must be good for more than one exchange.
			for range 2 {
				if err := h.Serve(x); err != nil {
					t.Fatal(err)
				}
				if got := x.Response.Header.Get("Content-Type"); x.Response.Status != test.wantStatus || got != test.wantType {
					t.Errorf("status %d, type %q", x.Response.Status, got)
				}
				if got := body(t, x); got != test.wantBody {
					t.Errorf("body %q, want %q", got, test.wantBody)
				}
			}
			if (test.wantBody == "") != (x.Response.Body == nil) {
				t.Errorf("body %v", x.Response.Body)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := handler(t, Config{Headers: unit.Map[string]{{Key: "X-Path", Value: "{request.path}"}, {Key: "X-User", Value: "{consumer.name}"}, {Key: "Allow", Value: "GET"}}})
	x := exchange()
	x.Response.Header.Append("X-Policy", "1")
	x.Response.Header.Append("allow", "POST")
	if err := h.Serve(x); err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range x.Response.Header.Fields() {
		got += f.Name + "=" + f.Value + ";"
	}
	if got != "X-Policy=1;allow=GET;X-Path=/a;" {
		t.Errorf("the answer has %s", got)
	}
}

func TestFileLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, size := range map[string]int{"most.bin": MaxBody, "over.bin": MaxBody + 1, "empty.bin": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("a"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x := exchange()
	if err := handler(t, Config{File: filepath.Join(dir, "most.bin")}).Serve(x); err != nil || x.Response.Body.Length() != MaxBody {
		t.Errorf("a file of the largest size: %v", err)
	}
	if err := handler(t, Config{File: filepath.Join(dir, "empty.bin")}).Serve(x); err != nil || x.Response.Body.Length() != 0 {
		t.Errorf("an empty file: %v", err)
	}
	near, err := build(&Config{Status: 200, File: "most.bin"}, &target.Env{Folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	x = exchange()
	if err := near.Serve(x); err != nil || x.Response.Body.Length() != MaxBody {
		t.Errorf("a file beside the configuration: %v", err)
	}
	for name, want := range map[string]string{"over.bin": "larger than 1048576 bytes", "absent.bin": "no such file", ".": "no regular file"} {
		_, err := build(&Config{Status: 200, File: filepath.Join(dir, name)}, &target.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v lacks %q", name, err, want)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		config Config
		want   string
	}{
		{Config{Status: 101}, "status: 101 is no status"},
		{Config{Status: 600}, "600 is no status"},
		{Config{Status: 200, Body: "a", JSON: unit.Any("1")}, "only one of body, json and file"},
		{Config{Status: 204, Body: "a"}, "status 204 has no body"},
		{Config{Status: 304, JSON: unit.Any("1")}, "status 304 has no body"},
		{Config{Status: 200, Body: "{client.adress}"}, "did you mean {client.address}?"},
		{Config{Status: 200, JSON: unit.Any(`"{client.adress}"`)}, "json: template"},
		{Config{Status: 200, Body: strings.Repeat("a", MaxBody+1)}, "the limit is 1048576"},
		{Config{Status: 200, Headers: one("Content-Length", "1")}, `headers["Content-Length"]: Content-Length cannot be set`},
		{Config{Status: 200, Headers: one("a b", "1")}, "is no header name"},
		{Config{Status: 200, Headers: one("content-type", "{request.header.accept}")}, "cannot have variables"},
		{Config{Status: 200, Headers: one("X-A", "")}, "the value is empty"},
		{Config{Status: 200, Headers: one("X-A", "a\r\nb")}, "control character"},
		{Config{Status: 200, Headers: one("X-A", "{response.status}")}, "not known before the answer"},
		{Config{Status: 200, Headers: unit.Map[string]{{Key: "X-A", Value: "1"}, {Key: "x-a", Value: "2"}}}, "given twice, as X-A"},
		{Config{Status: 200, Headers: make(unit.Map[string], MaxFields+1)}, "the limit is 100"},
	}
	for _, test := range tests {
		_, err := build(&test.config, &target.Env{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v lacks %q", err, test.want)
		}
	}
}

func TestAllocations(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   float64
	}{
		{Config{Body: "ok", Headers: one("X-Client", "{client.address}")}, 0},
		{Config{JSON: unit.Any(`{"a":1}`)}, 0},
		{Config{Body: "hello {client.address}"}, 1},
	} {
		h, x := handler(t, test.config), exchange()
		run := func() { _ = h.Serve(x) }
		run()
		if got := testing.AllocsPerRun(100, run); got > test.want {
			t.Errorf("%+v: %v allocations, %v is the budget", test.config, got, test.want)
		}
	}
}
