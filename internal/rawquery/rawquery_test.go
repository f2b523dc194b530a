package rawquery

import (
	"net/url"
	"testing"
)

func TestValue(t *testing.T) {
	t.Parallel()
	tests := []struct{ query, name, want string }{
		{"a=1&b=2", "b", "2"},
		{"a=1&a=2", "a", "1"},
		{"%61=1", "a", "1"},
		{"a+b=1", "a b", "1"},
		{"a%2", "a%2", ""},
		{"a%2=x", "a%2", "x"},
		{"ab=1", "a", ""},
		{"a=1", "ab", ""},
		{"a;b=1", "b", ""},
		{"&&a=b=c", "a", "b=c"},
		{"", "a", ""},
	}
	for _, test := range tests {
		if got := Value(test.query, test.name); got != test.want {
			t.Errorf("Value(%q, %q) = %q, want %q", test.query, test.name, got, test.want)
		}
	}
}

func TestEncoded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, "abc": false, "a+b": true, "a%20b": true} {
		if got := Encoded(text); got != want {
			t.Errorf("Encoded(%q) = %v", text, got)
		}
	}
}

// FuzzRoundTrip compares with net/url where that takes a text, and looks for texts
// that do not come back from AppendEncoded.
func FuzzRoundTrip(f *testing.F) {
	for _, seed := range []string{"", "a b", "%", "%zz", "%4", "ü&=+;", "%25%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := string(AppendEncoded(nil, text))
		if got := string(AppendDecoded(nil, encoded)); got != text {
			t.Fatalf("%q came back as %q", text, got)
		}
		if !Means(encoded, text) {
			t.Fatalf("%q does not mean %q", encoded, text)
		}
		decoded := string(AppendDecoded(nil, text))
		if !Means(text, decoded) {
			t.Fatalf("%q does not mean %q", text, decoded)
		}
		if want, err := url.QueryUnescape(text); err == nil && want != decoded {
			t.Fatalf("%q decodes to %q, net/url says %q", text, decoded, want)
		}
	})
}
