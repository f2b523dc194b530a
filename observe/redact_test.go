package observe

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestRedactQuery(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                             "",
		"a=b":                          "a=b",
		"token":                        "token",
		"token=":                       "token=***",
		"token=abc":                    "token=***",
		"a=b&token=abc&c=d":            "a=b&token=***&c=d",
		"TOKEN=abc":                    "TOKEN=***",
		"api_key=abc":                  "api_key=***",
		"api-key=abc":                  "api-key=***",
		"apiKey=abc":                   "apiKey=***",
		"X-Api-Key=abc":                "X-Api-Key=***",
		"X-Amz-Signature=abc":          "X-Amz-Signature=***",
		"access_token=a=b=c":           "access_token=***",
		"user[password]=abc":           "user[password]=***",
		"user%5Bpassword%5d=abc":       "user%5Bpassword%5d=***",
		"password[]=abc":               "password[]=***",
		"user.password=abc":            "user.password=***",
		"p%61ssword=abc":               "p%61ssword=***",
		"%70%61%73%73word=abc":         "%70%61%73%73word=***",
		"a=b;token=abc;d&e=f":          "a=b;token=***&e=f",
		"a;b;token=abc":                "a;b;token=***",
		"tokens=abc":                   "tokens=abc",
		"mytoken=abc":                  "mytoken=abc",
		"keyword=abc":                  "keyword=abc",
		"page_token=abc":               "page_token=abc",
		"=abc":                         "=abc",
		"&&=&":                         "&&=&",
		"%=abc&%7=abc&%zz=abc":         "%=abc&%7=abc&%zz=abc",
		"q=a token=b":                  "q=a token=b",
		strings.Repeat("k", 99) + "=v": strings.Repeat("k", 99) + "=v",
		strings.Repeat("k", 99) + "[password]=abc": strings.Repeat("k", 99) + "[password]=***",
	} {
		if got := string(appendQuery(nil, query)); got != want {
			t.Errorf("%q becomes %q, want %q", query, got, want)
		}
	}
}

func TestRedactReferer(t *testing.T) {
	t.Parallel()
	for referer, want := range map[string]string{
		"https://u:" + strings.Repeat("s3cret", 400):   "https://***",
		"https://www.example.com/":                     "https://www.example.com/",
		"https://www.example.com/a?b=c":                "https://www.example.com/a?b=c",
		"https://www.example.com/a?code=c&d":           "https://www.example.com/a?code=***&d",
		"https://www.example.com/a#access_token=c":     "https://www.example.com/a",
		"https://me:s3cret@www.example.com/a@b":        "https://***@www.example.com/a@b",
		"https://me:s3@cret@www.example.com":           "https://***@www.example.com",
		"//me@www.example.com/?token=a":                "//***@www.example.com/?token=***",
		"about:blank":                                  "about:blank",
		"https://www.example.com/a?u=//x:y@z&secret=c": "https://www.example.com/a?u=//x:y@z&secret=***",
	} {
		if got := string(appendReferer(nil, referer)); got != want {
			t.Errorf("%q becomes %q, want %q", referer, got, want)
		}
	}
}

// Every documented name is found in the spellings that people use, and is
// written the way in which names are compared.
func TestCredentialParameters(t *testing.T) {
	t.Parallel()
	for _, name := range CredentialParameters() {
		if len(name) > longestCredential {
			t.Errorf("%s is longer than %d bytes", name, longestCredential)
		}
		for _, spelling := range []string{name, strings.ToUpper(name), name[:1] + "_" + name[1:], "a[" + name + "]"} {
			if !credentialName(spelling) {
				t.Errorf("%s is not found", spelling)
			}
		}
	}
}

// jsonText is what encoding/json understands when it reads what we write.
func jsonText(t *testing.T, written []byte) string {
	t.Helper()
	var got string
	if err := json.Unmarshal(written, &got); err != nil {
		t.Fatalf("%v: %s", err, written)
	}
	return got
}

// FuzzString compares with encoding/json: what it reads from our text is what it
// reads from its own. What a terminal or a line reader could stumble over is
// escaped.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", `"\`, "\x00\x1f\x7f\n\r\t", "ü€😀", "\u2028\u2029\u0080\u009f\u00a0", "\xff\xc3\x28\xed\xa0\x80", "\xe2\x80", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ours := appendString(nil, s)
		theirs, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := jsonText(t, ours), jsonText(t, theirs); got != want {
			t.Errorf("%q is read as %q, want %q", s, got, want)
		}
		for _, r := range string(ours) {
			if r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' {
				t.Errorf("%q has %U in it", ours, r)
			}
		}
	})
}

// FuzzQuery checks that no value of a credential-like parameter is shown, by the
// way an origin splits a query, and that nothing else is lost.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "a=b&token=c", "a=b;token=c;d&e", "%74oken=c", "x[password]=c", "token=\"\n&key=\xff", "a;=b;key=;&&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		shown := jsonText(t, append(appendQuery([]byte{'"'}, query), '"'))
		clean := jsonText(t, appendString(nil, query))
		asked, seen := strings.Split(clean, "&"), strings.Split(shown, "&")
		if len(asked) != len(seen) {
			t.Fatalf("%q has %d parameters, %q has %d", clean, len(asked), shown, len(seen))
		}
		for i := range asked {
			kept, hidden := strings.CutSuffix(seen[i], "="+redacted)
			if !hidden && seen[i] != asked[i] || hidden && !strings.HasPrefix(asked[i], kept+"=") {
				t.Fatalf("%q became %q", asked[i], seen[i])
			}
			for piece := range strings.SplitSeq(seen[i], ";") {
				name, value, has := strings.Cut(piece, "=")
				if has && value != redacted && credentialName(name) {
					t.Fatalf("%q shows the value of %q", seen[i], name)
				}
			}
		}
	})
}

func BenchmarkAllPlain(b *testing.B) {
	agent := sampleExchange().Request.Header.Get("User-Agent")
	for b.Loop() {
		if !allPlain(agent) {
			b.Fatal("it is plain")
		}
	}
}
