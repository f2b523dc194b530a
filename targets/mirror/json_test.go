package mirror

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

func TestCompareJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ a, b, ignored, want string }{
		{`{"a":1,"b":2}`, `{"b":2.0,"a":10e-1}`, "", ""},
		{`"\u00e9"`, `"é"`, "", ""},
		{` [1 , 2]`, "[1,2]\n", "", ""},
		{`[1,2]`, `[2,1]`, "", "[0]"},
		{`{"a":null}`, `{}`, "", "a"},
		{`{}`, `{"a":null}`, "", "a"},
		{`{"b":1,"a":1}`, `{"a":2,"b":2}`, "", "a"},
		{`{"a":{"b":[{"c":1},{"c":2}]}}`, `{"a":{"b":[{"c":1},{"c":3}]}}`, "", "a.b[1].c"},
		{`{"a":{"b":[{"c":1},{"c":2}]}}`, `{"a":{"b":[{"c":1},{"c":3}]}}`, "a.b[].c", ""},
		{`{"a":{"b":[{"c":1},{"c":2}]}}`, `{"a":{"b":[{"c":1},{"c":3}]}}`, "a.b[0].c", "a.b[1].c"},
		{`{"a":{"b":[{"c":1},{"c":2}]}}`, `{"a":{"b":[{"c":1},{"c":3}]}}`, "a.*[1].c", ""},
		{`{"a":{"b":1},"c":1}`, `{"c":2}`, "a", "c"},
		{`{"a.b":{"*":1}}`, `{"a.b":{"*":2}}`, "", `["a.b"]["*"]`},
		{`{"a.b":1}`, `{"a.b":2}`, `["a.b"]`, ""},
		{`{"a":[1]}`, `{"a":{"0":1}}`, "a[]", "a"},
		{`1`, `"1"`, "", "$"},
		{`true`, `false`, "", "$"},
		{`1`, `nothing`, "", "$"},
		{`[]`, `{}`, "", "$"},
	} {
		var ignored []pattern
		if test.ignored != "" {
			p, err := parsePattern(test.ignored)
			if err != nil {
				t.Fatal(err)
			}
			ignored = append(ignored, p)
		}
		d, ok := compareJSON([]byte(test.a), []byte(test.b), ignored)
		if !ok || d.at != test.want || (d.verdict == body) != (test.want != "") {
			t.Errorf("%s and %s differ at %q, want %q", test.a, test.b, d.at, test.want)
		}
	}
	if _, ok := compareJSON([]byte(`{}{}`), []byte(`a`), nil); ok {
		t.Error("two values are JSON")
	}
}

func TestParsePattern(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"a": 1, "a.b": 2, "a[].b": 3, "[]": 1, "[3][]": 2, "*.a": 2, `["a.b"].c`: 2, `a["b"]`: 2, "a[0].*[]": 4,
		"": 0, ".": 0, "a.": 0, ".a": 0, "a..b": 0, "a[": 0, "a[x]": 0, "a[-1]": 0, "a[+1]": 0, `a["b`: 0, `a["]`: 0, "a.[0]": 0, "a[99999999999999999999]": 0,
	} {
		p, err := parsePattern(text)
		if len(p) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d steps, %v", text, len(p), err)
		}
	}
}

func TestSameNumber(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"1", "1.0", true}, {"1", "10e-1", true}, {"0", "-0.0e7", true}, {"100", "1e2", true}, {"0.001", "1E-3", true}, {"-1.50", "-1.5", true},
		{"1", "2", false}, {"1", "-1", false}, {"1e400", "1e401", false}, {"1e400", "10e399", true}, {"12", "120", false},
		{"9007199254740993", "9007199254740992", false}, {"1e9999999999999", "1e9999999999999", true}, {"1e9999999999999", "10e9999999999998", false},
	} {
		if got := sameNumber(test.a, test.b); got != test.same {
			t.Errorf("%s and %s: %t", test.a, test.b, got)
		}
	}
}

// FuzzSameNumber compares with arithmetic, where that is possible.
func FuzzSameNumber(f *testing.F) {
	f.Add("1.50", "15e-1")
	f.Add("-0", "0.00")
	f.Add("1e2", "100.0")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, n := range []string{a, b} {
			_, power, _ := cutExponent(n)
			if len(n) > 40 || len(strings.TrimLeft(power, "+-0")) > 3 || !json.Valid([]byte(n)) || strings.Trim(n, "0123456789.eE+-") != "" {
				return
			}
		}
		left, _ := new(big.Rat).SetString(a)
		right, _ := new(big.Rat).SetString(b)
		if want := left.Cmp(right) == 0; sameNumber(a, b) != want {
			t.Errorf("%s and %s: the same: %t", a, b, !want)
		}
	})
}

// FuzzCompareJSON: a text is the same as itself, written by somebody else.
func FuzzCompareJSON(f *testing.F) {
	f.Add(`{"b":[1,2.50,{"c":null}],"a":"é"}`)
	f.Add(`[[],{},"",0]`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseJSON([]byte(text))
		if err != nil {
			return
		}
		again, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := compareJSON([]byte(text), again, nil); !ok || d.verdict != equal {
			t.Errorf("%s and %s differ at %s", text, again, d.at)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	f.Add(`a.*[]["b.c"][3]`)
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePattern(text); err == nil && !p.fits(p) && !strings.Contains(text, "*") {
			t.Errorf("%q does not fit itself", text)
		}
	})
}
