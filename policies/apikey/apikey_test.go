package apikey

import (
	"crypto/sha256"
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

const acme = `
consumers:
  - name: acme
    groups: [gold]
    credentials: [{ api_key: "` + acmeHash + `" }]
policies:
`

const acmeHash = "HASH"

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		"{ in: [] }":                           "at least 1",
		"{ in: {} }":                           "a place is one of",
		"{ in: { header: A, query: a } }":      "a place is one of",
		"{ in: { header: 'a b' } }":            "letters, digits",
		"{ in: { query: 'a\"' } }":             "letters, digits",
		"{ in: { query: a, scheme: Bearer } }": "before the key in a header",
		"{ in: { header: Authorization, scheme: 'Bearer key' } }": "before the key in a header",
		"{ in: { header: Host } }":                                "cannot carry a key",
	} {
		refused(t, "policies:\n  - api_key: "+settings+"\n", want, "config.yaml:2:")
	}
}

func refused(t *testing.T, text string, wants ...string) {
	t.Helper()
	g, err := policytest.Build(text, Kind)
	if err == nil {
		_ = g.Close()
		t.Errorf("accepted:\n%s", text)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, expected %q, for\n%s", err, want, text)
		}
	}
}

func TestBadCredentials(t *testing.T) {
	t.Parallel()
	const policies = "policies: [{ api_key: {} }]\n"
	one := func(hash string) string {
		return "consumers:\n- name: acme\n  credentials:\n  - api_key: " + hash + "\n" + policies
	}
	refused(t, one("a-plain-key"), "printf %s KEY | sha256sum", "config.yaml:4:")
	refused(t, one("sha256:abc"), "64 hexadecimal digits", "config.yaml:4:")
	refused(t, one("sha256:"+strings.Repeat("g", 64)), "64 hexadecimal digits", "config.yaml:4:")
	refused(t, one("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "empty key", "config.yaml:4:")
	refused(t, one("{ hash: x }"), "config.yaml:4:")

	hash := "sha256:" + strings.Repeat("0a", 32)
	refused(t, "consumers:\n- name: acme\n  credentials:\n  - api_key: "+hash+"\n- name: globex\n  credentials:\n  - api_key: "+hash+"\n"+policies,
		"the consumers acme and globex have the same key", "config.yaml:7:")
	refused(t, "consumers:\n- name: acme\n  credentials:\n  - api_key: "+hash+"\n  - api_key: "+hash+"\n"+policies,
		"the consumer acme has this key twice", "config.yaml:5:")
}

func TestPlainKeyIsNotRepeated(t *testing.T) {
	t.Parallel()
	var c Credential
	for _, text := range []string{"hunter2", "sha256:hunter2", "sha512:hunter2"} {
		if err := c.UnmarshalText([]byte(text)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLengthOfKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", MaxKey)
	encoded := strings.Repeat("%6B", MaxKey)
	for _, p := range []place{{kind: inHeader, name: "k"}, {kind: inCookie, name: "k"}, {kind: inQuery, name: "k"}} {
		if hash, ok := p.hash(long); !ok || hash != sha256.Sum256([]byte(long)) {
			t.Errorf("%v: a key of %d bytes is refused", p, MaxKey)
		}
		if _, ok := p.hash(long + "k"); ok {
			t.Errorf("%v: a key of %d bytes is accepted", p, MaxKey+1)
		}
	}
	p := place{kind: inQuery, name: "k"}
	if hash, ok := p.hash(encoded); !ok || hash != sha256.Sum256([]byte(long)) {
		t.Error("an encoded key of the largest length is refused")
	}
	if _, ok := p.hash(encoded + "%6B"); ok {
		t.Error("an encoded key that is too long is accepted")
	}
}

func TestIndexIsSharedByASnapshot(t *testing.T) {
	t.Parallel()
	decoded := 0
	env := &policy.Env{
		Shared: &policy.Shared{},
		Credentials: func(string) []policy.CredentialOf {
			decoded++
			return nil
		},
	}
	for range 3 {
		if _, err := build(&Config{In: []Place{{Header: "X-API-Key"}}}, env); err != nil {
			t.Fatal(err)
		}
	}
	if decoded != 1 {
		t.Errorf("the credentials were read %d times", decoded)
	}
}

func TestAllocations(t *testing.T) {
	for _, c := range []struct {
		settings, target string
		fields           []string
		budget           float64
	}{
		{"{}", "/", []string{"X-API-Key", "key-of-acme"}, 0},
		{"{}", "/", []string{"X-API-Key", "wrong"}, 0},
		{"{}", "/", nil, 0},
		{"{}", "/", []string{"X-API-Key", strings.Repeat("x", 10_000)}, 0},
		{"{ in: { header: Authorization, scheme: Bearer } }", "/", []string{"Authorization", "Bearer key-of-acme"}, 0},
		{"{ in: { query: key } }", "/?key=key-of-acme&a=b", nil, 0},
		{"{ in: { query: key } }", "/?a=b&key=key-of-acme&c=d", nil, 1}, // the query without the key
		{"{ in: { cookie: key } }", "/", []string{"Cookie", "key=key-of-acme; a=b"}, 0},
	} {
		g := policytest.New(t, strings.Replace(acme, acmeHash, hashOf("key-of-acme"), 1)+"  - api_key: "+c.settings+"\n", Kind)
		policytest.Allocs(t, g, c.budget, 0, func(x *message.Exchange) { g.Fill(x, "GET", c.target, c.fields...) })
	}
}

func hashOf(key string) string {
	text, _ := Credential{sha256.Sum256([]byte(key))}.MarshalText()
	return string(text)
}

// FuzzQuery compares with net/url, and looks at what is left.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "key=a", "a=b&key=a", "key=a&a=b", "&&key&=", "k%65y=%zz", "key=a&key=b", "key;=1"} {
		f.Add(seed)
	}
	p := place{kind: inQuery, name: "key"}
	f.Fuzz(func(t *testing.T, query string) {
		value, n := p.find(&message.Request{Query: query})
		if values, err := url.ParseQuery(query); err == nil {
			if len(values["key"]) != n {
				t.Fatalf("%q: %d keys, net/url finds %q", query, n, values["key"])
			}
			if hash, ok := p.hash(value); n == 1 && ok && hash != sha256.Sum256([]byte(values["key"][0])) {
				t.Fatalf("%q: the key is %q, net/url finds %q", query, value, values["key"][0])
			}
		}
		if n != 1 {
			return
		}
		r := &message.Request{Query: query, HasQuery: true}
		p.remove(r)
		if _, n := p.find(r); n != 0 {
			t.Fatalf("%q became %q, which still has a key", query, r.Query)
		}
		var kept []string
		for pair := range strings.SplitSeq(query, "&") {
			if _, is := p.find(&message.Request{Query: pair}); is == 0 {
				kept = append(kept, pair)
			}
		}
		if want := strings.Join(kept, "&"); r.Query != want {
			t.Fatalf("%q became %q, expected %q", query, r.Query, want)
		}
	})
}

// FuzzCookie looks at what is left of a cookie field without its key.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{"", "key=a", "a=b; key=a", "key=a;a=b", ";;key;=", "key=a; key=b", " key = a"} {
		f.Add(seed)
	}
	p := place{kind: inCookie, name: "key"}
	f.Fuzz(func(t *testing.T, cookie string) {
		r := &message.Request{}
		r.Header.Append("cookie", cookie)
		r.Header.Append("accept", "*/*")
		if _, n := p.find(r); n != 1 {
			return
		}
		p.remove(r)
		if _, n := p.find(r); n != 0 {
			t.Fatalf("%q became %q, which still has a key", cookie, r.Header.Get("cookie"))
		}
		if r.Header.Get("accept") != "*/*" {
			t.Fatalf("%q: another field is gone", cookie)
		}
		if strings.Count(cookie, ";")-strings.Count(r.Header.Get("cookie"), ";") > 1 {
			t.Fatalf("%q became %q: more than the key is gone", cookie, r.Header.Get("cookie"))
		}
	})
}
