package scalar

import "testing"

func TestLooksLike(t *testing.T) {
	t.Parallel()
	for look, words := range map[Look][]string{
		Text:  {"a", "1a", "0x", "0o8", "-", "+", ".", "1e", "1e+", "1.e.1", "yes", "tRue", "1h30m", "-x", ".infinity"},
		Int:   {"0", "17", "-4", "+4", "007", "0x1F", "0o17"},
		Float: {"1.5", ".5", "-1.", "1e3", "1.5E-3", ".inf", "-.INF", ".nan"},
		Bool:  {"true", "False", "TRUE"},
		Null:  {"", "~", "null", "NULL"},
	} {
		for _, word := range words {
			if got := LooksLike(word); got != look {
				t.Errorf("%q looks like %v, want %v", word, got, look)
			}
		}
	}
}
