package upstreams

import (
	"fmt"
	"strings"
	"testing"
)

// TestStickyOverChanges: a client stays with its endpoint when the list and other settings
// change, at another gateway and after a restart; it moves when its endpoint leaves.
func TestStickyOverChanges(t *testing.T) {
	t.Parallel()
	a, b, c := newOrigin(t, "a"), newOrigin(t, "b"), newOrigin(t, "c")
	settings := func(secret string, endpoints ...string) string {
		return fmt.Sprintf("endpoints: [%s]\nbalance: { method: sticky, secret: [%s] }", strings.Join(endpoints, ", "), secret)
	}
	const first, second = "the first secret of all", "the second secret of all"
	g := start(t, settings(first, a.URL, b.URL))
	cookies := map[string]string{}
	for len(cookies) < 2 {
		_, body, set := g.ask("")
		cookie, attributes, _ := strings.Cut(set, ";")
		if attributes != " Path=/; HttpOnly; SameSite=Lax" || !strings.HasPrefix(cookie, "sluice_orders=") {
			t.Fatalf("set: %q", set)
		}
		cookies[strings.TrimSpace(body)] = cookie
	}
	stays := func(g *gateway, when string) {
		t.Helper()
		for name, cookie := range cookies {
			for range 10 {
				if code, body, set := g.ask("x=1; " + cookie); code != 200 || body != name+" x=1" || set != "" {
					t.Fatalf("%s: who belongs to %s is answered %d %q, and gets the cookie %q", when, name, code, body, set)
				}
			}
		}
	}
	stays(g, "at first")
	g.reload(settings(first, c.URL, b.URL, a.URL))
	stays(g, "with another endpoint")
	g.reload(settings(first, c.URL, b.URL, a.URL) + "\ntimeouts: { connect: 2s }")
	stays(g, "with other settings")

	other := start(t, settings(first, b.URL, a.URL))
	stays(other, "at another gateway")

	g.reload(settings(second+", "+first, b.URL, a.URL))
	for name, cookie := range cookies {
		code, body, set := g.ask(cookie)
		if code != 200 || body != name+" " || set == "" || strings.HasPrefix(set, cookie) {
			t.Errorf("with a new secret before the old one: %d %q %q", code, body, set)
		}
		cookies[name], _, _ = strings.Cut(set, ";")
	}
	g.reload(settings(second, b.URL, a.URL))
	stays(g, "when the old secret has gone")

	g.reload(settings(second, b.URL))
	if _, body, set := g.ask(cookies["a"]); body != "b " || !strings.HasPrefix(set, cookies["b"]+";") {
		t.Errorf("when its endpoint has left: %q, %q", body, set)
	}
}

// TestStickyWithoutSecret: cookies are good as long as the process runs.
func TestStickyWithoutSecret(t *testing.T) {
	t.Parallel()
	a, b := newOrigin(t, "a"), newOrigin(t, "b")
	settings := fmt.Sprintf("endpoints: [%s, %s]\nbalance: sticky", a.URL, b.URL)
	g := start(t, settings)
	_, name, set := g.ask("")
	cookie, _, _ := strings.Cut(set, ";")
	g.reload(settings + "\ntimeouts: { connect: 2s }")
	for range 10 {
		if _, body, set := g.ask(cookie); body != name || set != "" {
			t.Fatalf("after a reload: %q, %q", body, set)
		}
	}
	if _, err := g.Logged("without a secret the cookies of sticky mean nothing"); err != nil {
		t.Error(err)
	}
	if _, _, set := start(t, settings).ask(cookie); set == "" {
		t.Error("another gateway believes the cookie")
	}
}
