package upstream

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/sticky"
)

// stickyTo is an upstream whose clients stay, by the cookie s.
func stickyTo(addresses ...string) Config {
	c := to(addresses...)
	c.Balance = LeastRequest
	c.Sticky = &Sticky{
		Cookie: "s", Attributes: sticky.Attributes{Path: "/", SameSite: "lax"},
		Keys: []sticky.Key{sticky.DeriveKey([]byte("the secret of a test"), "orders")},
	}
	return c
}

// calledOrigin is an origin that answers with its name and the cookies that it got.
func calledOrigin(t *testing.T, name string, status func() int) *origin {
	return newOrigin(t, func(c *played) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			c.answer(status(), name+strings.Join(r.Header["Cookie"], "|"))
		}
	})
}

func well() int { return 200 }

// asks sends a request with these fields Cookie, and returns what came and what cookie was set.
func asks(t *testing.T, u *Upstream, cookies ...string) (body, set string) {
	t.Helper()
	x := exchange(&wire{}, "GET", nil)
	for _, c := range cookies {
		x.Request.Header.Append("Cookie", c)
	}
	_, body, err := ask(u, x)
	if err != nil {
		t.Fatal(err)
	}
	if n := x.Response.Header.Count("Set-Cookie"); n > 1 {
		t.Errorf("%d cookies are set", n)
	}
	return body, x.Response.Header.Get("Set-Cookie")
}

// valueOf is the pair in a Set-Cookie.
func valueOf(set string) string {
	value, _, _ := strings.Cut(set, ";")
	return value
}

func TestClientStays(t *testing.T) {
	t.Parallel()
	a, b, c := calledOrigin(t, "a", well), calledOrigin(t, "b", well), calledOrigin(t, "c", well)
	u, _ := newUpstream(t, stickyTo(a.address, b.address, c.address))
	seen := map[string]bool{}
	for range 40 {
		body, set := asks(t, u)
		cookie := valueOf(set)
		if set != cookie+"; Path=/; HttpOnly; SameSite=Lax" || !strings.HasPrefix(cookie, "s=") || strings.Contains(cookie, "127") {
			t.Fatalf("set: %q", set)
		}
		seen[body] = true
		for range 3 {
			if again, set := asks(t, u, cookie); again != body || set != "" {
				t.Fatalf("who belongs to %s comes to %s, and gets the cookie %q", body, again, set)
			}
		}
		if got, set := asks(t, u, "a=1; "+cookie+"; b=\"2\" ", cookie, "c=3"); got != body+`a=1; b="2"|c=3` || set != "" {
			t.Fatalf("the origin got %s, and the client %q", got, set)
		}
	}
	if len(seen) != 3 {
		t.Errorf("new clients come to %v", seen)
	}
	atRest(t, u)
}

func TestBadCookies(t *testing.T) {
	t.Parallel()
	a, b := calledOrigin(t, "a", well), calledOrigin(t, "b", well)
	u, _ := newUpstream(t, stickyTo(a.address, b.address))
	other := sticky.DeriveKey([]byte("the secret of a test"), "carts")
	old := sticky.DeriveKey([]byte("a secret of old times"), "orders")
	key := u.config.Sticky.Keys[0]
	for name, value := range map[string]string{
		"of another upstream":  other.Token(a.address).String(),
		"of an old key":        old.Token(a.address).String(),
		"of nobody":            key.Token("10.0.0.1:80").String(),
		"empty":                "",
		"long":                 strings.Repeat("A", 8000),
		"the address in clear": a.address,
		"strange":              "%00\x80;",
		"without its end":      key.Token(a.address).String()[:31],
	} {
		body, set := asks(t, u, "s="+value)
		if body != "a" && body != "b" || set == "" {
			t.Errorf("%s: %q, and the cookie %q is set", name, body, set)
		}
	}
}

func TestKeysAreChanged(t *testing.T) {
	t.Parallel()
	a, b := calledOrigin(t, "a", well), calledOrigin(t, "b", well)
	c := stickyTo(a.address, b.address)
	before := c.Sticky.Keys[0]
	after := sticky.DeriveKey([]byte("the next secret"), "orders")
	c.Sticky.Keys = []sticky.Key{after, before}
	u, _ := newUpstream(t, c)
	for _, o := range []*origin{a, b} {
		name := map[*origin]string{a: "a", b: "b"}[o]
		body, set := asks(t, u, "s="+before.Token(o.address).String())
		if body != name || valueOf(set) != "s="+after.Token(o.address).String() {
			t.Errorf("with the old key: %s, and then %q", body, set)
		}
	}
}

// TestEndpointCannotBeAsked: the client goes on to another one and stays there.
func TestEndpointCannotBeAsked(t *testing.T) {
	t.Parallel()
	a, b := calledOrigin(t, "a", well), calledOrigin(t, "b", well)
	u, _ := newUpstream(t, stickyTo(a.address, b.address))
	ofA, ofB := "s="+u.Endpoints()[0].tokens[0].String(), "s="+u.Endpoints()[1].tokens[0].String()
	moves := func(why string) {
		t.Helper()
		if body, set := asks(t, u, ofA); body != "b" || valueOf(set) != ofB {
			t.Errorf("%s: %s, %q", why, body, set)
		}
	}
	stays := func(why string) {
		t.Helper()
		if body, set := asks(t, u, ofA); body != "a" || set != "" {
			t.Errorf("%s: %s, %q", why, body, set)
		}
	}
	stays("at first")
	u.Mark(u.Endpoints()[0], Unhealthy, true)
	moves("while it is ill")
	u.Mark(u.Endpoints()[0], Unhealthy, false)
	stays("when it is well again")

	both := u.config.Endpoints
	u.SetEndpoints(both[1:])
	moves("when it has gone")
	u.SetEndpoints([]EndpointConfig{both[1], {Address: refusing(t)}, both[0]})
	stays("when it has come back, in another place")
}

func TestAllAreIll(t *testing.T) {
	t.Parallel()
	a, b := calledOrigin(t, "a", well), calledOrigin(t, "b", well)
	c := stickyTo(a.address, b.address)
	c.PanicThreshold = 0.5
	u, _ := newUpstream(t, c)
	for _, e := range u.Endpoints() {
		u.Mark(e, Ejected, true)
	}
	for range 20 {
		if body, set := asks(t, u, "s="+u.Endpoints()[0].tokens[0].String()); body != "a" || set != "" {
			t.Fatalf("though all are asked: %s, %q", body, set)
		}
	}
}

// TestStaysAtItsLevel: a client keeps its endpoint of a level that was needed once.
func TestStaysAtItsLevel(t *testing.T) {
	t.Parallel()
	c := Config{Balance: LeastRequest, Sticky: stickyTo().Sticky}
	u := standing(c, "a b c@1")
	h := hint{}
	for _, e := range u.Endpoints() {
		set := triedSet{wish: holder{e, true}}
		if got := u.chosen.Load().pick(u, h, set); got != e {
			t.Errorf("who belongs to %s comes to %s", e.address, got.address)
		}
		set.add(e)
		if got := u.chosen.Load().pick(u, h, set); got == e {
			t.Errorf("%s is tried again", e.address)
		}
	}
}

// TestFurtherTryMoves: the cookie is that of the endpoint that has answered.
func TestFurtherTryMoves(t *testing.T) {
	t.Parallel()
	a := calledOrigin(t, "a", func() int { return 503 })
	b := calledOrigin(t, "b", well)
	for _, kind := range []string{"503", "connect_failure"} {
		addresses := []string{a.address, b.address}
		if kind == "connect_failure" {
			addresses[0] = refusing(t)
		}
		c := stickyTo(addresses...)
		c.Retry = again(1, kind)
		u, _ := newUpstream(t, c)
		want := "s=" + u.Endpoints()[1].tokens[0].String()
		for _, cookie := range []string{"", "s=" + u.Endpoints()[0].tokens[0].String()} {
			if body, set := asks(t, u, cookie); body != "b" || valueOf(set) != want {
				t.Errorf("%s: %s, %q", kind, body, set)
			}
		}
	}
}

func TestNoCookieWithoutAnswer(t *testing.T) {
	t.Parallel()
	u, _ := newUpstream(t, stickyTo(refusing(t)))
	x := exchange(&wire{}, "GET", nil)
	if _, _, err := ask(u, x); err == nil || x.Response.Header.Has("Set-Cookie") {
		t.Errorf("%v, %+v", err, x.Response.Header)
	}
}

func TestCookiesOfTheOriginStay(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, func(c *played) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 0\r\n\r\n")
		}
	})
	u, _ := newUpstream(t, stickyTo(o.address))
	x := exchange(&wire{}, "GET", nil)
	if _, _, err := ask(u, x); err != nil {
		t.Fatal(err)
	}
	if got := x.Response.Header.Values(nil, "Set-Cookie"); len(got) != 2 || got[0] != "own=1" || !strings.HasPrefix(got[1], "s=") {
		t.Errorf("set: %q", got)
	}
}

func TestSecureCookie(t *testing.T) {
	t.Parallel()
	o := calledOrigin(t, "a", well)
	for _, c := range []struct {
		secure SecureCookie
		scheme string
		want   bool
	}{
		{SecureAuto, "http", false}, {SecureAuto, "https", true},
		{SecureAlways, "http", true}, {SecureNever, "https", false},
	} {
		config := stickyTo(o.address)
		config.Sticky.Secure = c.secure
		config.Sticky.Attributes.Age = time.Minute
		u, _ := newUpstream(t, config)
		x := exchange(&wire{}, "GET", nil)
		x.Request.Scheme = c.scheme
		mustAsk(t, u, x)
		set := x.Response.Header.Get("Set-Cookie")
		if strings.HasSuffix(set, "; Secure") != c.want || !strings.Contains(set, "; Max-Age=60;") {
			t.Errorf("%v over %s: %s", c.secure, c.scheme, set)
		}
	}
}

func TestOtherKeysAreAnotherConfiguration(t *testing.T) {
	t.Parallel()
	a, b, c := stickyTo("a:1"), stickyTo("a:1"), stickyTo("a:1")
	c.Sticky.Keys = append(c.Sticky.Keys, sticky.Key{})
	if !a.Equal(&b) || a.Equal(&c) {
		t.Error("keys do not count")
	}
	for _, e := range []Config{a, c} {
		if words := e.words(); strings.Contains(words, fmt.Sprint(e.Sticky.Keys[0][:4])) {
			t.Errorf("a key is shown: %s", words)
		}
	}
}

func TestStickyAllocations(t *testing.T) {
	u := standing(stickyTo(), "a b c")
	cookie := "s=" + u.Endpoints()[1].tokens[0].String()
	x := exchange(&wire{}, "GET", nil)
	for _, c := range []struct {
		name   string
		upTo   float64
		fields []string
	}{
		{"none", 0, []string{"Accept", "*/*"}},
		{"another cookie", 0, []string{"Cookie", "a=1"}},
		{"the cookie alone", 0, []string{"Cookie", cookie}},
		{"the first of several", 0, []string{"Cookie", cookie + "; a=1"}},
		{"between others", 1, []string{"Cookie", "a=1; " + cookie + "; b=2"}}, // The field without it.
	} {
		var wish holder
		got := testing.AllocsPerRun(100, func() {
			x.Request.Header.Reset()
			x.Request.Header.Append(c.fields[0], c.fields[1])
			wish = u.recall(&x.Request)
		})
		if got > c.upTo && !raceEnabled {
			t.Errorf("%s: %v allocations", c.name, got)
		}
		if strings.Contains(c.fields[1], cookie) != (wish.endpoint == u.Endpoints()[1]) {
			t.Errorf("%s: %v", c.name, wish)
		}
	}
	var resp message.Response
	resp.Header.Append("Set-Cookie", "")
	e := u.Endpoints()[0]
	if got := testing.AllocsPerRun(100, func() {
		resp.Header.Reset()
		u.stick(x, e, holder{}, &resp)
	}); got > 2 && !raceEnabled { // The token and the field.
		t.Errorf("a new cookie: %v allocations", got)
	}
}

func BenchmarkRecall(b *testing.B) {
	u := standing(stickyTo(), "a b c")
	cookie := "s=" + u.Endpoints()[1].tokens[0].String()
	x := exchange(&wire{}, "GET", nil)
	b.ReportAllocs()
	for b.Loop() {
		x.Request.Header.Reset()
		x.Request.Header.Append("Accept", "*/*")
		x.Request.Header.Append("Cookie", cookie)
		if u.recall(&x.Request).endpoint == nil {
			b.Fatal("not found")
		}
	}
}

// TestHedgeMoves: where two endpoints were asked at one time, the client gets the cookie of the one whose
// answer it gets, and none of them sees a cookie.
func TestHedgeMoves(t *testing.T) {
	t.Parallel()
	slow, quick := newRunner(t, HTTP1), calledOrigin(t, "b", well)
	c := stickyTo(slow.address, quick.address)
	c.Retry = again(0)
	c.Retry.Hedge = Hedge{After: 5 * time.Millisecond, Max: 1, Methods: "GET "}
	u, _ := newUpstream(t, c)
	ofSlow, ofQuick := "s="+u.Endpoints()[0].tokens[0].String(), "s="+u.Endpoints()[1].tokens[0].String()
	if body, set := asks(t, u, ofSlow); body != "b" || valueOf(set) != ofQuick {
		t.Errorf("the one that is slow is not passed by: %s, %q", body, set)
	}
	if body, set := asks(t, u, ofQuick); body != "b" || set != "" {
		t.Errorf("who has come to the quick one goes on to %s, and gets %q", body, set)
	}
}
