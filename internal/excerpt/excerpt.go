// Package excerpt shows a part of a long line.
package excerpt

import (
	"strings"
	"unicode/utf8"
)

// Around cuts a line to width characters so that the character at is among them, and
// says where that stands now. What a terminal would act on becomes a space.
func Around(line string, at, width int) (string, int) {
	runes := []rune(strings.Map(printable, line))
	at = max(0, min(at, len(runes)))
	if len(runes) <= width {
		return strings.TrimRight(string(runes), " "), at
	}
	start := max(0, min(at-width/2, len(runes)-width))
	end := min(len(runes), start+width)
	text, caret := string(runes[start:end]), at-start
	if start > 0 {
		text, caret = "…"+text, caret+1
	}
	if end < len(runes) {
		text += "…"
	}
	return text, caret
}

// printable keeps what a terminal shows in one column and acts on in no way.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError {
		return ' '
	}
	return r
}
