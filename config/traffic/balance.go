package traffic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/internal/nearest"
	"github.com/sluice-gateway/sluice/unit"
)

// Balance says how an endpoint is chosen, as a word or as a mapping.
type Balance struct {
	Method string `required:"true" enum:"round_robin,least_request,random" doc:"In turn, the less busy of two at random, or at random; all by weight."`
}

var methods = []string{"round_robin", "least_request", "random"}

func meant(word string) string {
	if near := nearest.Word(word, methods); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// Form says how the short form is written.
func (Balance) Form() unit.Form {
	return unit.Form{
		Name:    "method",
		Is:      "one of " + strings.Join(methods, ", "),
		Pattern: "^(" + strings.Join(methods, "|") + ")$",
	}
}

// UnmarshalText reads the short form.
func (b *Balance) UnmarshalText(text []byte) error {
	b.Method = string(text)
	if slices.Contains(methods, b.Method) {
		return nil
	}
	return fmt.Errorf("%q is not one of %s%s", text, strings.Join(methods, ", "), meant(b.Method))
}
