package split

import (
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/message"
)

// holds says whether all of the condition is true for a request, as the policies
// have left it. It allocates nothing.
func (w *When) holds(x *message.Exchange) bool {
	if len(w.Group) > 0 && !w.includes(x.Facts.Consumer) {
		return false
	}
	for i := range w.Header {
		if !hasField(&x.Request.Header, w.Header[i].Key, w.Header[i].Value) {
			return false
		}
	}
	for i := range w.Cookie {
		if !hasCookie(&x.Request.Header, w.Cookie[i].Key, w.Cookie[i].Value) {
			return false
		}
	}
	return true
}

// includes says whether a consumer is in one of the groups; nobody is nil.
func (w *When) includes(consumer *message.Consumer) bool {
	if consumer == nil {
		return false
	}
	for _, group := range consumer.Groups {
		if slices.Contains(w.Group, group) {
			return true
		}
	}
	return false
}

// hasField says whether one of the fields of a name has one of the values.
func hasField(h *message.Header, name string, values []string) bool {
	for _, f := range h.Fields() {
		if message.EqualFold(f.Name, name) && slices.Contains(values, f.Value) {
			return true
		}
	}
	return false
}

// hasCookie says whether one of the cookies of a name has one of the values (RFC
// 6265 §4.2.1). Names are compared exactly; the order of cookies means nothing.
func hasCookie(h *message.Header, name string, values []string) bool {
	for _, f := range h.Fields() {
		if !message.EqualFold(f.Name, "Cookie") {
			continue
		}
		for rest := f.Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			key, value, _ := strings.Cut(message.TrimOWS(pair), "=")
			if key == name && slices.Contains(values, value) {
				return true
			}
		}
	}
	return false
}

// words say what a request must have.
func (w *When) words() string {
	var all []string
	for _, h := range w.Header {
		all = append(all, "the header "+h.Key+": "+strings.Join(h.Value, " or "))
	}
	for _, c := range w.Cookie {
		all = append(all, "the cookie "+c.Key+"="+strings.Join(c.Value, " or "))
	}
	if len(w.Group) > 0 {
		all = append(all, "a caller of the group "+strings.Join(w.Group, " or "))
	}
	return strings.Join(all, " and ")
}
