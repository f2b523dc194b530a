package config

import (
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/internal/nearest"
)

// Meant completes a message about an unknown word: with the nearest known one, or
// with all where they are few.
func Meant(word string, known []string, what string) string {
	if near := nearest.Word(word, known); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	if len(known) == 0 {
		return ": there are no " + what
	}
	if len(known) <= 12 {
		return ": the " + what + " are " + strings.Join(known, ", ")
	}
	return ""
}
