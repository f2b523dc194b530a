package basicauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

// sesame is the hash of "open sesame" at the lowest cost.
const sesame = "$2a$04$ffX/YMtQqzqEWS1AIyiAdu9GjbBHEWSJuICNG5.f7ypJQwA35RG6i"

const config = `
consumers:
  - name: acme
    credentials:
      - basic_auth: { username: ali, password: "` + sesame + `" }
policies:
  - basic_auth: {}
`

func authorization(plain string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(plain))
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	one := func(username, password string) string {
		return "consumers:\n- name: acme\n  credentials:\n  - basic_auth: { username: " + username + ", password: " + password + " }\npolicies: [{ basic_auth: {} }]\n"
	}
	hash := strconv.Quote(sesame)
	for text, want := range map[string]string{
		one("ali", "hunter2"):                                "htpasswd -nB NAME",
		one("ali", `"{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs="`):    "only bcrypt is",
		one("ali", `"$apr1$abc$defghijklmnopqrstuvwx"`):      "only bcrypt is",
		one("ali", `"$2y$10$short"`):                         "damaged",
		one("ali", strconv.Quote(sesame+"x")):                "damaged",
		one("ali", strconv.Quote(sesame[:59]+"!")):           "damaged",
		one("ali", strconv.Quote("$2y$16"+sesame[6:])):       "the limit is 14",
		one(`"a:b"`, hash):                                   "colon",
		one(`"a\x07b"`, hash):                                "colon",
		one(`""`, hash):                                      "at least 1",
		one(strings.Repeat("ü", 200), hash):                  "longer than 255 bytes",
		"policies: [{ basic_auth: { realm: \"a\\nb\" } }]\n": "printable ASCII",
		"policies: [{ basic_auth: { realm: \"\" } }]\n":      "at least 1",
		strings.Replace(config, "policies:", `  - name: globex
    credentials:
      - basic_auth: { username: ali, password: "`+sesame+`" }
policies:`, 1): "acme and globex have the same username",
	} {
		g, err := policytest.Build(text, Kind)
		if err == nil {
			_ = g.Close()
			t.Errorf("accepted:\n%s", text)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.yaml:") {
			t.Errorf("the error is %v, expected %q and a place, for\n%s", err, want, text)
		}
	}
}

func TestPlainPasswordIsNotRepeated(t *testing.T) {
	t.Parallel()
	var p Password
	for _, text := range []string{"hunter2", "$2y$hunter2", "$2y$10$hunter2", "$1$hunter2$x", "{SHA}hunter2"} {
		if err := p.UnmarshalText([]byte(text)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestRealmIsQuoted(t *testing.T) {
	t.Parallel()
	if got, want := challenge(`a "b" \c`), `Basic realm="a \"b\" \\c", charset="UTF-8"`; got != want {
		t.Errorf("%s, expected %s", got, want)
	}
}

func TestNobodyCostsWhatOthersCost(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, config, Kind)
	a := g.Serve(g.Exchange("GET", "/", "Authorization", authorization("nobody:open sesame")))
	if a.Problem != invalid {
		t.Fatalf("the answer is %d %v", a.Status, a.Problem)
	}
	if _, err := bcrypt.Cost([]byte(noHash)); err != nil || len(noHash) != hashLength {
		t.Errorf("noHash is no hash: %v", err)
	}
	hash := sesame[:shapeLength] + noHash[shapeLength:]
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("comparing with nobody ends early: %v", err)
	}
}

// TestTooManyChecks fills all slots: the request that waits in vain is a fault, and
// one whose password is known is not concerned.
func TestTooManyChecks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier()
		u := &user{hash: []byte(sesame), consumer: &message.Consumer{Name: "acme"}}
		if ok, err := v.check(u, []byte("open sesame")); !ok || err != nil {
			t.Fatal(ok, err)
		}
		for range cap(v.slots) {
			v.slots <- struct{}{}
		}
		if ok, err := v.check(u, []byte("open sesame")); !ok || err != nil {
			t.Error("a known password had to wait:", ok, err)
		}
		if ok, err := v.check(u, []byte("another")); ok || !errors.Is(err, errBusy) {
			t.Error("there was no end of waiting:", ok, err)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	var r remembered
	number := func(i int) proof { return proof{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range 10 * perGeneration {
		r.add(number(i))
		if !r.has(number(i)) {
			t.Fatal("what was added last is not there")
		}
		if !r.has(number(0)) {
			t.Fatal("what is used all the time was forgotten")
		}
	}
	if n := len(r.young) + len(r.old); n > 2*perGeneration {
		t.Errorf("%d proofs are remembered", n)
	}
	if r.has(number(1)) {
		t.Error("what was never used again is still there")
	}
}

func TestConcurrently(t *testing.T) {
	t.Parallel()
	g := policytest.New(t, config, Kind)
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 10 {
				password, want := "open sesame", 200
				if (w+i)%3 == 0 {
					password, want = "wrong", 401
				}
				if a := g.Serve(g.Exchange("GET", "/", "Authorization", authorization("ali:"+password))); a.Status != want {
					t.Errorf("%s: %d %v", password, a.Status, a.Faults)
				}
			}
		})
	}
	wait.Wait()
}

func TestAllocations(t *testing.T) {
	g := policytest.New(t, config, Kind)
	for _, value := range []string{authorization("ali:open sesame"), "Bearer abc", "Basic ====", authorization("ali" + strings.Repeat("x", 1000))} {
		policytest.Allocs(t, g, 0, 0, func(x *message.Exchange) { g.Fill(x, "GET", "/", "Authorization", value) })
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	name, password := strings.Repeat("n", maxName), strings.Repeat("p", maxPassword)
	for plain, want := range map[string]found{
		name + ":" + password:       wellformed,
		name + "n:" + password:      malformed,
		name + ":" + password + "p": malformed,
		"n:" + password + "p":       malformed,
		":":                         wellformed,
		"a:b:c":                     wellformed,
		"a":                         malformed,
		"a:\n":                      malformed,
		"a\x7f:":                    malformed,
	} {
		var l login
		if got := l.parse(authorization(plain)); got != want {
			t.Errorf("%q: %v, expected %v", plain, got, want)
		}
	}
	for value, want := range map[string]found{
		"":                none,
		"Bas":             none,
		"Basic":           malformed,
		"Basic ":          malformed,
		"Basicc YTpi":     none,
		"Basic YTpi":      wellformed,
		"basic   YTpi ":   wellformed,
		"Basic YTpi YTpi": malformed,
		"Basic YTp":       malformed,
		"Basic YTo":       malformed,
		"Basic YTr=":      malformed, // no colon
		"Basic YTp=":      malformed, // bits behind the end
		"Basic YTo=":      wellformed,
		"Basic Y\r\nTpi":  malformed,
		"Basic YT-_":      malformed,
	} {
		var l login
		if got := l.parse(value); got != want {
			t.Errorf("%q: %v, expected %v", value, got, want)
		}
	}
}

// FuzzParse compares with net/http, which is more lenient: what we read, it reads the
// same way.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "Basic", "Basic YTpi", "basic YTpi", "Basic YTpi=", "Basic  Og==", "Bearer a", authorization("a:\x00"), "Basic YT\npi"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var l login
		if l.parse(value) != wellformed {
			return
		}
		token := message.TrimOWS(value[len(scheme):])
		r := &http.Request{Header: http.Header{"Authorization": {"Basic " + token}}}
		name, password, ok := r.BasicAuth()
		if !ok || name != string(l.name) || password != string(l.password) {
			t.Fatalf("%q: %q and %q, net/http says %q and %q (%v)", value, l.name, l.password, name, password, ok)
		}
		if len(l.name) > maxName || len(l.password) > maxPassword || strings.ContainsAny(name, ":") {
			t.Fatalf("%q: outside the limits", value)
		}
	})
}
