package nearest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	t.Parallel()
	known := []string{"rate_limit", "request_id", "headers", "api_key", "cors"}
	for word, want := range map[string]string{
		"ratelimit": "rate_limit", "RATE_LIMIT": "rate_limit", "reqeust_id": "request_id", "header": "headers",
		"apikey": "api_key", "core": "cors", "wholly_other": "", "": "", strings.Repeat("x", 100): "",
	} {
		if got := Word(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"abc", "bac", 1}, {"abc", "abcd", 1}, {"kitten", "sitting", 3},
	} {
		if got := distance(c.a, c.b, 10); got != c.want {
			t.Errorf("%q and %q: got %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a, 10); got != c.want {
			t.Errorf("%q and %q: got %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
