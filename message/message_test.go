package message

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"sync"
	"testing"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	code := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, p := range Problems() {
		if seen[p.Code] {
			t.Errorf("%s is given twice", p.Code)
		}
		seen[p.Code] = true
		if !code.MatchString(p.Code) || p.Title == "" || p.Detail != "" || p.Status < 400 || p.Status > 599 {
			t.Errorf("%+v", p)
		}
	}
	p := BadRequest.WithDetail("why")
	if BadRequest.Detail != "" || !errors.Is(p, BadRequest) || errors.Is(p, BadRequestBody) || !errors.Is(fmt.Errorf("x: %w", p), BadRequest) {
		t.Error("a copy with a detail is the same problem")
	}
	if p.Error() != "bad_request: why" || BadRequest.Error() != "bad_request: The request is malformed" {
		t.Error(p, BadRequest)
	}
	for _, s := range []Source{SourceClient, SourceUpstream, SourceGateway, SourcePolicy} {
		if seen[s.String()] {
			t.Errorf("two sources are called %s", s)
		}
		seen[s.String()] = true
	}
	if RetryNo.String() != "no" || RetryNewConnection.String() != "new_connection" || RetryYes.String() != "yes" {
		t.Error("the words for retries are public")
	}
}

func TestIdempotent(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{
		"GET": true, "HEAD": true, "PUT": true, "DELETE": true, "OPTIONS": true, "TRACE": true,
		"POST": false, "PATCH": false, "CONNECT": false, "get": false, "": false, "BREW": false,
	} {
		if Idempotent(method) != want {
			t.Error(method)
		}
	}
}

func TestBodyAllowed(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{100: false, 101: false, 199: false, 200: true, 204: false, 205: true, 304: false, 303: true, 404: true, 599: true} {
		if BodyAllowed("GET", status) != want || BodyAllowed("HEAD", status) {
			t.Error(status)
		}
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	var p Params
	for i := range MaxParams + 3 {
		p.Add(string(rune('a'+i)), string(rune('A'+i)))
	}
	if p.Len() != MaxParams || len(p.All()) != MaxParams || p.Get("a") != "A" || p.Get("p") != "P" || p.Get("q") != "" {
		t.Errorf("%+v", p)
	}
	p.Truncate(1)
	if p.Len() != 1 || p.Get("b") != "" || p.list[1] != (Param{}) {
		t.Errorf("%+v", p)
	}
	p.Add("b", "2")
	p.Add("b", "3")
	if p.Get("b") != "2" || p.Len() != 3 {
		t.Errorf("%+v", p)
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]Request{
		"/a": {Path: "/a", Query: "ignored"}, "/a?": {Path: "/a", HasQuery: true}, "/a?b=c": {Path: "/a", Query: "b=c", HasQuery: true}, "*": {Path: "*"},
	} {
		if got := r.Target(); got != want {
			t.Errorf("%q, wanted %q", got, want)
		}
	}
}

// An exchange that is used again shows nothing of the one before.
func TestExchangeReset(t *testing.T) {
	t.Parallel()
	x := &Exchange{Shard: 7}
	home := &sync.Pool{}
	x.Request.Method, x.Request.Upgrade, x.Request.ExpectContinue = "POST", "websocket", true
	x.Request.Header.Append("A", "1")
	x.Response.Header.Append("B", "2")
	x.Response.SetBody([]byte("a"))
	x.Facts.RequestID, x.Facts.Tries, x.Facts.Consumer = "id", 3, &Consumer{}
	x.Facts.Params.Add("a", "b")
	x.Client.Listener = "l"
	x.Deny(BadRequest)
	if x.Fault(errors.New("fault")) != Faulted || x.Problem() != BadRequest {
		t.Error("fault")
	}
	x.SetRoom(2, new(int), home)
	if x.Room(1) != nil || x.Room(2) == nil || x.Room(9) != nil {
		t.Error("rooms")
	}
	fields := x.Request.Header.Fields()[:1]
	x.Reset()
	if x.Request.Method != "" || x.Request.Upgrade != "" || x.Request.ExpectContinue || x.Request.Header.Len() != 0 || x.Response.Header.Len() != 0 ||
		x.Response.Body != nil || x.Response.Length != -1 || x.Facts != (Facts{}) || x.Client != (Client{}) || x.Problem() != nil || x.TakeFault() != nil ||
		x.Room(2) != nil || x.Wire() != nil || x.Shard != 7 || fields[0] != (Field{}) {
		t.Errorf("%+v", x)
	}
}

func TestProblemsListsAll(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "problems.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			declared += len(g.Specs)
		}
	}
	if declared == 0 || declared != len(Problems()) {
		t.Errorf("%d problems are declared, %d are listed", declared, len(Problems()))
	}
}

// closable is a tunnel that notes that it was closed.
type closable struct {
	Tunnel
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

func TestSettle(t *testing.T) {
	t.Parallel()
	for status, final := range map[int]bool{0: false, 101: false, 199: false, 200: true, 999: true, 1000: false} {
		left := &closable{}
		r := Response{Status: status, Tunnel: left}
		r.SetBody([]byte("body"))
		err := r.Settle()
		if (err == nil) != final || (r.Body != nil) != final || r.Tunnel != nil || !left.closed {
			t.Errorf("%d: %v, body %v, tunnel closed: %v", status, err, r.Body, left.closed)
		}
	}
}
