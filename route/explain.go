package route

import "github.com/sluice-gateway/sluice/message"

// NearLimit is how many near misses an Explanation has at most.
const NearLimit = 10

// Explanation is why a request goes where it goes, for sluice explain.
type Explanation struct {
	// Rule is the index of the rule that wins, or -1.
	Rule int
	// Host and Path are the patterns through which it matched; "" for any.
	Host, Path string
	Params     []message.Param
	// Why says in one sentence each what made the rule match and win.
	Why []string
	// Near are rules that almost matched, or matched and lost; the best first.
	Near []Miss
	// Methods are those that would have matched where no rule does (405).
	Methods []string
}

// Miss is a rule that did not win.
type Miss struct {
	Rule       int
	Host, Path string
	// Matched says that the rule matches and lost against a more specific one.
	Matched bool
	// Reason names the condition that failed, or what made it lose.
	Reason string
}

// Explain tells which rule wins for a request, why, and which ones nearly did. It
// looks at every rule: off the hot path.
func (t *Table) Explain(r *message.Request, listener string) Explanation {
	var params message.Params
	x := Explanation{Rule: -1}
	if rule, ok := t.Match(r, listener, &params); ok {
		x.Rule = rule
	} else {
		x.Methods = t.Methods(r, listener)
	}
	return x
}
