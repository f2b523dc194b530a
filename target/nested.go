package target

import (
	"errors"

	"github.com/sluice-gateway/sluice/unit"
)

// MaxDepth is how many targets may stand within each other, the route's own included.
const MaxDepth = 6

// Nested is a target within the settings of another one: a mapping with one key, which is a
// kind of target. A settings struct that embeds it has that key beside its own:
//
//	type Config struct {
//		target.Nested
//		To unit.List[target.Nested] `required:"true" doc:"…"`
//	}
//
// reads {upstream: orders, to: {respond: {status: 503}}}. The build function of the kind
// makes handlers of them with Env.Build.
type Nested struct {
	Kinds []unit.Keyed `yaml:",rest" doc:"The target: one key, which is a kind of target, such as upstream, and its settings."`
}

// Validate is called once the settings are filled. What is an unknown kind, and what are
// two, is said by Env.Build.
func (n *Nested) Validate() error {
	if len(n.Kinds) == 0 {
		return errors.New("a target is missing here: write one, such as upstream: NAME")
	}
	return nil
}

// Kind is the name of the target, as it was written.
func (n *Nested) Kind() string {
	if len(n.Kinds) == 0 {
		return ""
	}
	return n.Kinds[0].Name
}
