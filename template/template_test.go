package template

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// exchange returns one in which every variable has a value.
func exchange() *message.Exchange {
	x := &message.Exchange{}
	x.Client.AddressText = "203.0.113.9"
	x.Client.Listener = "web"
	x.Client.TLS = &message.TLS{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", ServerName: "api.example.com", Certificate: &message.ClientCertificate{
		Subject: "CN=orders,O=Example", Issuer: "CN=clients", NameList: "DNS:a.example.com,URI:spiffe://example.com/a", Serial: "2a",
		Fingerprint: "9f86d0", NotAfter: time.Date(2027, 1, 31, 13, 0, 0, 0, time.FixedZone("", 3600)), Verified: true,
	}}
	x.Facts.RequestID = "r-1"
	x.Facts.Consumer = &message.Consumer{Name: "ada", Groups: []string{"gold", "eu"}, GroupList: "gold,eu"}
	x.Facts.Params.Add("id", "a%20b")
	x.Facts.Params.Add("rest", "x/y")
	x.Facts.Route, x.Facts.Upstream, x.Facts.Endpoint = "orders", "pool", "http://192.0.2.1:80"
	r := &x.Request
	r.Method, r.Scheme, r.Authority = "GET", "https", "api.example.com:8443"
	r.Path, r.Query, r.HasQuery = "/orders/a%20b", "q=1&name=J%C3%BCrgen+%22X%22&bad=%zz&%6b=v&empty", true
	r.Header.Append("X-Team", "blue")
	r.Header.Append("Accept", "text/html")
	r.Header.Append("accept", "*/*")
	r.Header.Append("Cookie", "a=1; session=\"s=2\"")
	r.Header.Append("Cookie", "b=3")
	r.Header.Append("X-Evil", `<a href="x">&'\`)
	x.Response.Status = 404
	x.Response.Header.Append("Server", "origin")
	return x
}

func TestString(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"", ""},
		{"plain", "plain"},
		{"{{}}", "{}"},
		{"a{{b}}c", "a{b}c"},
		{"{{{route}}}", "{orders}"},
		{"{client.address}", "203.0.113.9"},
		{"{client.certificate.subject}", "CN=orders,O=Example"},
		{"{client.certificate.issuer}", "CN=clients"},
		{"{client.certificate.names}", "DNS:a.example.com,URI:spiffe://example.com/a"},
		{"{client.certificate.serial}|{client.certificate.fingerprint}", "2a|9f86d0"},
		{"{client.certificate.not_after}", "2027-01-31T12:00:00Z"},
		{"{tls.version}|{tls.cipher}|{tls.server_name}", "TLS 1.3|TLS_AES_128_GCM_SHA256|api.example.com"},
		{"{listener}", "web"},
		{"{request.id}", "r-1"},
		{"{request.method}", "GET"},
		{"{request.scheme}", "https"},
		{"{request.host}", "api.example.com"},
		{"{request.authority}", "api.example.com:8443"},
		{"{request.path}", "/orders/a%20b"},
		{"{request.query.q}", "1"},
		{"{request.query.name}", `Jürgen "X"`},
		{"{request.query.bad}", "%zz"},
		{"{request.query.k}", "v"},
		{"{request.query.empty}", ""},
		{"{request.query.nobody}", ""},
		{"{request.header.x-team}", "blue"},
		{"{request.header.accept}", "text/html, */*"},
		{"{request.header.x-nobody}", ""},
		{"{request.cookie.a}", "1"},
		{"{request.cookie.b}", "3"},
		{"{request.cookie.session}", `"s=2"`},
		{"{request.cookie.A}", ""},
		{"{path.id}", "a%20b"},
		{"{path.nobody}", ""},
		{"{consumer.name}/{consumer.groups}", "ada/gold,eu"},
		{"{route}", "orders"},
		{"{upstream} {endpoint}", "pool http://192.0.2.1:80"},
		{"{response.status}", "404"},
		{"{response.header.server}", "origin"},
		{"<{request.header.accept}|{request.query.name}>", `<text/html, */*|Jürgen "X">`},
	}
	x := exchange()
	for _, test := range tests {
		p, err := Parse(test.text, Use{Answered: true})
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := p.String(x); got != test.want {
			t.Errorf("String(%s) = %q, want %q", test.text, got, test.want)
		}
		if got := string(p.Append([]byte("+"), x)); got != "+"+test.want {
			t.Errorf("Append(%s) = %q, want %q", test.text, got, "+"+test.want)
		}
	}
}

func TestEveryVariableIsEmptyInAnEmptyExchange(t *testing.T) {
	t.Parallel()
	x := &message.Exchange{}
	for _, row := range All() {
		p, err := Parse("["+"{"+row.Name+"}]", Use{Answered: true})
		if err != nil {
			t.Errorf("%s: %v", row.Name, err)
			continue
		}
		if got := p.String(x); got != "[]" {
			t.Errorf("%s is %q in an empty exchange", row.Name, got)
		}
		if got := p.Variables(); len(got) != 1 || got[0] != row.Name {
			t.Errorf("Variables of {%s} = %q", row.Name, got)
		}
	}
}

// A certificate that nobody vouches for says nothing.
func TestUnverifiedCertificate(t *testing.T) {
	t.Parallel()
	x := exchange()
	x.Client.TLS.Certificate.Verified = false
	for _, row := range All() {
		if !strings.HasPrefix(row.Name, "client.certificate.") {
			continue
		}
		p, err := Parse("{"+row.Name+"}", Use{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.String(x) + string(p.Append(nil, x)); got != "" {
			t.Errorf("{%s} is %q", row.Name, got)
		}
	}
}

func TestEveryVariableHasAValue(t *testing.T) {
	t.Parallel()
	x := exchange()
	x.Facts.Params.Add("NAME", "v")
	x.Request.Header.Append("NAME", "v")
	x.Request.Header.Append("Cookie", "NAME=v")
	x.Request.Query = "NAME=v"
	x.Response.Header.Append("NAME", "v")
	for _, row := range All() {
		p, err := Parse("{"+row.Name+"}", Use{Answered: true})
		if err != nil {
			t.Fatal(err)
		}
		if p.String(x) == "" {
			t.Errorf("{%s} is empty in a full exchange", row.Name)
		}
		if _, err := Parse("{"+row.Name+"}", Use{}); (err != nil) != row.Answered {
			t.Errorf("{%s} before the answer: %v", row.Name, err)
		}
	}
}

func TestEscapes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		escape     Escape
		text, want string
	}{
		{AsIs, "{request.header.x-evil}", `<a href="x">&'\`},
		{Path, "/v/{path.id}/{path.rest}{request.path}", "/v/a%20b/x/y/orders/a%20b"},
		{Path, "/v/{request.header.accept}", "/v/text%2Fhtml%2C%20%2A%2F%2A"},
		{Path, "/v/{request.query.name}", "/v/J%C3%BCrgen%20%22X%22"},
		{Path, "{request.header.x-team}", "blue"},
		{Path, "{request.header.x-evil}", "%3Ca%20href%3D%22x%22%3E%26%27%5C"},
		{Query, "p={request.path}", "p=%2Forders%2Fa%2520b"},
		{Query, "{request.query}", exchange().Request.Query},
		{JSON, `"{request.header.x-evil}"`, `"\u003Ca href=\"x\"\u003E\u0026'\\"`},
		{JSON, `{request.query.name}`, `Jürgen \"X\"`},
		{HTML, "<b>{request.header.x-evil}</b>", `<b>&lt;a href=&#34;x&#34;&gt;&amp;&#39;\</b>`},
		{HTML, "{request.query.name}", "Jürgen &#34;X&#34;"},
	}
	x := exchange()
	for _, test := range tests {
		p, err := Parse(test.text, Use{Escape: test.escape})
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := p.String(x); got != test.want {
			t.Errorf("%s = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestJSONIsValidUTF8(t *testing.T) {
	t.Parallel()
	x := exchange()
	x.Request.Query = "v=%ff%00%0a"
	p, err := Parse("{request.query.v}", Use{Escape: JSON})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.String(x), "\uFFFD\\u0000\\u000A"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoose(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{`{"a":{"b":1}}`, `{"a":{"b":1}}`},
		{`{"id":"{request.id}"}`, `{"id":"r-1"}`},
		{`{{{request.id}}}`, `{{request.id}}`},
		{`{{request.id}}`, `{request.id}`},
		{`body { color: red } p{}`, `body { color: red } p{}`},
		{`{unknown}`, `{unknown}`},
		{`}}{{`, `}}{{`},
		{`{`, `{`},
	}
	x := exchange()
	for _, test := range tests {
		p, err := Parse(test.text, Use{Loose: true})
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := p.String(x); got != test.want {
			t.Errorf("%s = %q, want %q", test.text, got, test.want)
		}
	}
	if _, err := Parse(`{"ip":"{client.adress}"}`, Use{Loose: true}); err == nil || !strings.Contains(err.Error(), "{client.address}") {
		t.Errorf("a misspelled variable in a loose text: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"{", `character 1 of "{": "{" without "}"`},
		{"a}", `character 2 of "a}": "}" without "{"`},
		{"{a{route}", `"{" without "}"`},
		{"{}", "needs a name between"},
		{"{client.adress}", "did you mean {client.address}?"},
		{"{request.headers.x-team}", "did you mean {request.header.x-team}?"},
		{"{reqest.header.x-team}", "did you mean {request.header.x-team}?"},
		{"{params.id}", "unknown variable {params.id}"},
		{"{request.header}", "{request.header.NAME}"},
		{"{request.header.}", "{request.header.NAME}"},
		{"{path}", "{path.NAME}"},
		{"{zzzzzzzzzz}", "known are {client.address}"},
		{"{request.header.x team}", "no header name"},
		{"{request.cookie.a=b}", "no cookie name"},
		{"{path. id}", "remove the space"},
		{"{response.status}", "not known before the answer"},
		{"{upstream}", "not known before the answer"},
		{strings.Repeat("{route}", MaxVariables+1), "more than 256 variables"},
		{strings.Repeat("a", MaxText+1), "the limit is 1048576"},
	}
	for _, test := range tests {
		_, err := Parse(test.text, Use{})
		if err == nil {
			t.Errorf("%s is accepted", shorten(test.text))
			continue
		}
		if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %q lacks %q", shorten(test.text), err, test.want)
		}
	}
}

func TestLiteral(t *testing.T) {
	t.Parallel()
	if got := Literal("{route}").String(exchange()); got != "{route}" {
		t.Errorf("got %q", got)
	}
	p, err := Parse("a{{b", Use{})
	if err != nil || !p.IsLiteral() || p.Variables() != nil {
		t.Errorf("a text without variables: %v, literal %v", err, p.IsLiteral())
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "a{{": "a{", "/v/{path.id}.{path.ext}": "/v/x.x", "{request.path}/y": "/x/y"} {
		p, err := Parse(text, Use{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Shape(); got != want {
			t.Errorf("Shape(%s) = %q, want %q", text, got, want)
		}
	}
}

func TestAllocations(t *testing.T) {
	x := exchange()
	tests := []struct {
		text   string
		escape Escape
		want   float64
	}{
		{"literal", AsIs, 0},
		{"{client.address}", AsIs, 0},
		{"{request.header.x-team}", AsIs, 0},
		{"{request.cookie.session}", AsIs, 0},
		{"{request.query.q}", AsIs, 0},
		{"{request.host}", AsIs, 0},
		{"{response.status}", AsIs, 0},
		{"{path.id}", Path, 0},
		{"{request.header.x-team}", Path, 0},
		{"{request.header.accept}", AsIs, 1},
		{"{request.query.name}", AsIs, 1},
		{"{request.query.name}", Path, 1},
		{"/v2/{path.id}/{request.header.x-team}", Path, 1},
	}
	for _, test := range tests {
		p, err := Parse(test.text, Use{Answered: true, Escape: test.escape})
		if err != nil {
			t.Fatal(err)
		}
		if got := testing.AllocsPerRun(100, func() { _ = p.String(x) }); got != test.want {
			t.Errorf("String(%s) makes %v allocations, want %v", test.text, got, test.want)
		}
		room := make([]byte, 0, 256)
		if got := testing.AllocsPerRun(100, func() { room = p.Append(room[:0], x) }); got != 0 {
			t.Errorf("Append(%s) makes %v allocations, want none", test.text, got)
		}
	}
}

// FuzzParse looks for texts that crash, that are read differently by String and
// Append, or whose literal part is not kept.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "{route}", "{{", "}}", "{{{route}}}", "{request.header.x}", "{a{b}c}", "{path.}", `{"a":{"b":"{route}"}}`} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	x := exchange()
	f.Fuzz(func(t *testing.T, text string, loose bool) {
		for escape := AsIs; escape <= HTML; escape++ {
			p, err := Parse(text, Use{Answered: true, Loose: loose, Escape: escape})
			if err != nil {
				return
			}
			got := p.String(x)
			if again := string(p.Append(nil, x)); got != again {
				t.Fatalf("String is %q, Append is %q", got, again)
			}
			if !strings.ContainsAny(text, "{}") && got != text {
				t.Fatalf("a text without braces became %q", got)
			}
		}
		doubled := strings.NewReplacer("{", "{{", "}", "}}").Replace(text)
		if len(doubled) > MaxText {
			return
		}
		p, err := Parse(doubled, Use{})
		if err != nil || p.String(x) != text {
			t.Fatalf("%q with doubled braces: %v", text, err)
		}
	})
}
