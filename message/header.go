package message

import "strings"

// Field is one header field. Both strings are immutable and may be kept.
type Field struct{ Name, Value string }

// Header is an ordered list of fields; names are compared without regard to
// ASCII case (RFC 9110 §5.1) and keep the spelling in which they arrived.
//
// It never holds what frames or routes a message: Host, Content-Length,
// Transfer-Encoding and the hop-by-hop fields are taken out by the wire, which
// puts Request.Authority and the length of the Body in their place.
//
// A Header belongs to its exchange and to the goroutine that serves it.
type Header struct{ fields []Field }

// Len is the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// Fields is a view, valid until the header is changed. Values may be changed
// in place, names too, as long as both stay valid.
func (h *Header) Fields() []Field { return h.fields }

// Get returns the first value of a field, or "".
func (h *Header) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the first value of a field, and whether there is one.
func (h *Header) Lookup(name string) (string, bool) {
	for i := range h.fields {
		if len(h.fields[i].Name) == len(name) && EqualFold(h.fields[i].Name, name) {
			return h.fields[i].Value, true
		}
	}
	return "", false
}

// Has says whether there is a field of this name.
func (h *Header) Has(name string) bool {
	_, ok := h.Lookup(name)
	return ok
}

// Count is the number of fields of this name.
func (h *Header) Count(name string) int {
	n := 0
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			n++
		}
	}
	return n
}

// Values appends every value of a field to dst, in order.
func (h *Header) Values(dst []string, name string) []string {
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			dst = append(dst, h.fields[i].Value)
		}
	}
	return dst
}

// Joined returns all values of a field as one list, joined by ", " (RFC 9110
// §5.3). It allocates only where there are several.
func (h *Header) Joined(name string) string {
	if h.Count(name) < 2 {
		return h.Get(name)
	}
	return strings.Join(h.Values(nil, name), ", ")
}

// Append adds a field that a wire has already checked.
func (h *Header) Append(name, value string) {
	h.fields = append(h.fields, Field{name, value})
}

// Add adds a field behind those that are there. A name that is no token is
// ignored, and bytes that may not stand in a value become spaces: whatever a
// policy puts together from a request, it cannot split a message.
func (h *Header) Add(name, value string) {
	if ValidName(name) {
		h.fields = append(h.fields, Field{name, CleanValue(value)})
	}
}

// Set replaces all fields of this name by one, in the place of the first. It
// checks like Add.
func (h *Header) Set(name, value string) {
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			h.fields[i].Value = CleanValue(value)
			h.deleteFrom(i+1, name)
			return
		}
	}
	h.Add(name, value)
}

// Del removes all fields of this name and says whether there were any.
func (h *Header) Del(name string) bool { return h.deleteFrom(0, name) }

func (h *Header) deleteFrom(start int, name string) bool {
	kept := start
	for i := start; i < len(h.fields); i++ {
		if EqualFold(h.fields[i].Name, name) {
			continue
		}
		if kept != i {
			h.fields[kept] = h.fields[i]
		}
		kept++
	}
	removed := kept != len(h.fields)
	clear(h.fields[kept:])
	h.fields = h.fields[:kept]
	return removed
}

// Truncate keeps the first n fields.
func (h *Header) Truncate(n int) {
	clear(h.fields[n:])
	h.fields = h.fields[:n]
}

// Reset empties the header and keeps its room.
func (h *Header) Reset() { h.Truncate(0) }

// CopyFrom makes h equal to other; the strings are shared.
func (h *Header) CopyFrom(other *Header) {
	if h == other {
		return
	}
	h.Reset()
	h.fields = append(h.fields, other.fields...)
}
