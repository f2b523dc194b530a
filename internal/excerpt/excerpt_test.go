package excerpt

import "testing"

func TestAround(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, line string
		at, width  int
		text       string
		caret      int
	}{
		{"short", "name: x", 6, 20, "name: x", 6},
		{"control", "a\tb\x1b", 1, 20, "a b", 1},
		{"past the end", "abc", 9, 20, "abc", 3},
		{"start of a long one", "0123456789", 1, 4, "0123…", 1},
		{"middle of a long one", "0123456789", 5, 4, "…3456…", 3},
		{"end of a long one", "0123456789", 9, 4, "…6789", 4},
		{"characters, not bytes", "äöüäöü", 5, 4, "…üäöü", 4},
	} {
		text, caret := Around(c.line, c.at, c.width)
		if text != c.text || caret != c.caret {
			t.Errorf("%s: %q with the caret at %d, want %q at %d", c.name, text, caret, c.text, c.caret)
		}
	}
}
