package compress

import (
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// whole is the weight 1 in thousandths; unsaid that of what a client does not name.
const (
	whole  = 1000
	unsaid = -1
)

// wishes are the weights that a client gives to codings (RFC 9110 §12.5.3).
type wishes struct {
	weight         [codings]int
	star, identity int
}

// choose returns the coding that the client likes best among those in order, the
// first one of several that it likes equally, or none. It allocates nothing.
//
// A client that sends no Accept-Encoding would have to take any coding; it gets
// none, because it is most likely a simple one. "identity;q=0" is not obeyed where
// no coding can be used: an answer is better than 406 (RFC 9110 §12.4.1 lets us).
func choose(h *message.Header, order []coding) coding {
	w := wishes{star: unsaid, identity: unsaid}
	for i := range w.weight {
		w.weight[i] = unsaid
	}
	for i := range h.Fields() {
		if f := &h.Fields()[i]; message.EqualFold(f.Name, "Accept-Encoding") {
			w.read(f.Value)
		}
	}
	best, most := none, 0
	for _, c := range order {
		weight := w.weight[c]
		if weight == unsaid {
			weight = w.star
		}
		if weight > most {
			best, most = c, weight
		}
	}
	if w.identity > most {
		return none
	}
	return best
}

// read adds the members of one field. What is not understood counts for nothing.
func (w *wishes) read(list string) {
	for len(list) > 0 {
		var item string
		item, list = message.NextListItem(list)
		name, parameter, weighed := strings.Cut(item, ";")
		weight, ok := whole, true
		if weighed {
			weight, ok = parseWeight(message.TrimOWS(parameter))
		}
		if !ok {
			continue
		}
		switch name = message.TrimOWS(name); {
		case name == "*":
			w.star = weight
		case message.EqualFold(name, "identity"):
			w.identity = weight
		case message.EqualFold(name, "gzip"), message.EqualFold(name, "x-gzip"): // RFC 9110 §8.4.1.3
			w.weight[gz] = weight
		case message.EqualFold(name, "br"):
			w.weight[br] = weight
		case message.EqualFold(name, "zstd"):
			w.weight[zstandard] = weight
		}
	}
}

// parseWeight reads "q=0.125" (RFC 9110 §12.4.2) as thousandths.
func parseWeight(s string) (int, bool) {
	if len(s) < 3 || len(s) > 7 || s[0] != 'q' && s[0] != 'Q' || s[1] != '=' || s[2] != '0' && s[2] != '1' {
		return 0, false
	}
	weight := int(s[2]-'0') * whole
	if len(s) == 3 {
		return weight, true
	}
	if s[3] != '.' {
		return 0, false
	}
	for i, worth := 4, 100; i < len(s); i, worth = i+1, worth/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		weight += int(s[i]-'0') * worth
	}
	return weight, weight <= whole
}
