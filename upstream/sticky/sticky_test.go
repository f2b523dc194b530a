package sticky

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTokenBelongsToSecretUpstreamAndAddress(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, secret := range []string{"one secret of many", "another secret"} {
		for _, upstream := range []string{"orders", "carts"} {
			key := DeriveKey([]byte(secret), upstream)
			for _, address := range []string{"10.0.0.7:80", "10.0.0.8:80"} {
				what := fmt.Sprint(secret, upstream, address)
				text := key.Token(address).String()
				if again := key.Token(address).String(); again != text || len(text) != TokenLength {
					t.Errorf("%s: %s, then %s", what, text, again)
				}
				if other, ok := seen[text]; ok {
					t.Errorf("%s has the token of %s", what, other)
				}
				seen[text] = what
				if strings.Contains(text, "10.0") {
					t.Errorf("%s tells the address: %s", what, text)
				}
			}
		}
	}
	// Gateways of different versions must agree, so the token of an address never changes.
	key := DeriveKey([]byte("0123456789abcdef"), "orders")
	if got := key.Token("10.0.0.7:8080").String(); got != "6aQ4jFGwR5BnIr7M9IuPbf5MDywaWyf5" {
		t.Errorf("the token has become %s", got)
	}
	if text := fmt.Sprintf("%v %+v %s", key, struct{ K []Key }{[]Key{key}}, key); strings.Trim(text, "*{}K:[] ") != "" {
		t.Errorf("a key is printed: %s", text)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	key := DeriveKey([]byte("secret"), "orders")
	table := NewTable[int](2)
	a, b := key.Token("a"), key.Token("b")
	table.Add(a, 1)
	table.Add(b, 2)
	table.Add(a, 3)
	if n, ok := table.Find(a); n != 1 || !ok {
		t.Errorf("a: %d %v", n, ok)
	}
	if n, ok := table.Find(b); n != 2 || !ok {
		t.Errorf("b: %d %v", n, ok)
	}
	for i := range tokenBytes {
		forged := a
		forged[i] ^= 1
		if n, ok := table.Find(forged); ok {
			t.Errorf("with another byte %d it means %d", i, n)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	key := DeriveKey([]byte("secret"), "orders")
	v := key.Token("a").String()
	w := key.Token("b").String()
	for _, c := range []struct{ field, rest, value string }{
		{"s=" + v, "", v},
		{"a=1; s=" + v + "; b=2", "a=1; b=2", v},
		{"s=" + v + "; b=2", "b=2", v},
		{"a=1; s=" + v, "a=1", v},
		{"a=1;s=" + v + ";b=2", "a=1;b=2", v},
		{"a=1;  s=" + v + " ;b=2", "a=1;b=2", v},
		{"a=\"1\";; s=" + v + "; =x;b", "a=\"1\";; =x;b", v},
		{"s=" + v + "; s=" + w, "", v},
		{"s=old; a=1; s=" + w + "; s=" + v + ";", "a=1;", w},
		{"s=", "", ""},
		{"s=; a=s=" + v, "a=s=" + v, ""},
		{"s=\"" + v + "\"", "", ""},
		{"s=" + v + "=", "", ""},
		{"s=" + v[:TokenLength-1], "", ""},
		{"s=" + v[:TokenLength-1] + "\n", "", ""},
		{"s=" + v[:TokenLength-1] + "+", "", ""},
		{"s", "s", ""},
		{"S=" + v + "; ss=1; s =1", "S=" + v + "; ss=1; s =1", ""},
		{"a=1; b=2", "a=1; b=2", ""},
		{"", "", ""},
	} {
		rest, token, found, ok := Cut(c.field, "s")
		if rest != c.rest || ok != (c.value != "") || ok && token.String() != c.value || found != (rest != c.field) {
			t.Errorf("%q: %q %v %v %v, want %q %q", c.field, rest, token, found, ok, c.rest, c.value)
		}
	}
}

// slowCut is Cut in another way.
func slowCut(field, name string) (rest, value string, found bool) {
	var kept []string
	first := true
	for i, pair := range strings.Split(field, ";") {
		if is, v, has := strings.Cut(strings.Trim(pair, " \t"), "="); has && is == name {
			if _, ok := Parse(v); ok && value == "" {
				value = v
			}
			found = true
			continue
		}
		if first && i > 0 {
			pair = strings.TrimLeft(pair, " \t") // It stands at the beginning now.
		}
		first = false
		kept = append(kept, pair)
	}
	return strings.Join(kept, ";"), value, found
}

func FuzzCut(f *testing.F) {
	key := DeriveKey([]byte("secret"), "orders")
	v := key.Token("a").String()
	for _, seed := range []string{"", "s=" + v, "a=1; s=" + v + "; b=2", ";;s=;s=" + v, " s=x;\ts=y ; ;", "s;s=;=s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		field = strings.Trim(field, " \t") // So it comes from a wire.
		rest, token, found, ok := Cut(field, "s")
		slowRest, value, slowFound := slowCut(field, "s")
		if found != slowFound || ok != (value != "") || ok && token.String() != value {
			t.Fatalf("%q: %v %v %v, want %q %v", field, token, found, ok, value, slowFound)
		}
		if trim(rest) != trim(slowRest) {
			t.Fatalf("%q: %q, want %q", field, rest, slowRest)
		}
		if !found && rest != field {
			t.Fatalf("%q has become %q though it has none", field, rest)
		}
		if again, _, found, _ := Cut(rest, "s"); found || again != rest {
			t.Fatalf("%q: %q still has one", field, rest)
		}
	})
}

func FuzzParse(f *testing.F) {
	key := DeriveKey([]byte("secret"), "orders")
	f.Add(key.Token("a").String())
	f.Add(strings.Repeat("\n", TokenLength))
	f.Fuzz(func(t *testing.T, value string) {
		if token, ok := Parse(value); ok && token.String() != value {
			t.Fatalf("%q is read as %s", value, token)
		}
	})
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a      Attributes
		secure bool
		want   string
	}{
		{Attributes{Path: "/", SameSite: "lax"}, false, "; Path=/; HttpOnly; SameSite=Lax"},
		{Attributes{Path: "/shop", Age: time.Hour, SameSite: "strict"}, false, "; Path=/shop; Max-Age=3600; HttpOnly; SameSite=Strict"},
		{Attributes{Path: "/", SameSite: "none"}, true, "; Path=/; HttpOnly; SameSite=None; Secure"},
	} {
		if got := c.a.Text(c.secure); got != c.want {
			t.Errorf("%+v: %s", c.a, got)
		}
	}
}
