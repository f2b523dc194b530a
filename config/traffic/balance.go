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
	Method string      `required:"true" enum:"round_robin,least_request,random,peak_ewma,consistent_hash" doc:"In turn, the less busy of two at random, at random, of two at random the one that would answer sooner, or the same key to the same endpoint; all by weight."`
	Key    string      `default:"{client.address}" max:"1024" doc:"With consistent_hash: what requests that go to the same endpoint have in common, as a template, such as {request.header.x-user}. Where it is empty any endpoint is asked."`
	Table  string      `enum:"maglev,ring" default:"maglev" doc:"With consistent_hash: maglev is quicker and more even; with a ring no key moves that need not, when endpoints come and go."`
	Bound  unit.Factor `default:"1.25x" doc:"With consistent_hash: how many times its share of the requests under way an endpoint gets at most; what is more goes to the next one. 0x: as much as comes."`
}

var methods = []string{"round_robin", "least_request", "random", "peak_ewma", "consistent_hash"}

func meant(word string) string {
	if near := nearest.Word(word, methods); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// Validate is called by the decoder.
func (b *Balance) Validate() error {
	if f := b.Bound.Float(); f != 0 && f <= 1 {
		return unit.Problem("bound", "with no more than its share no endpoint has room for chance: give more than 1x, such as 1.25x, or 0x for no bound")
	}
	return nil
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
