package unit

import (
	"bytes"
	"encoding/json"
)

// List is written as one value or as a list of them: "a" or [a, b].
type List[T any] []T

// OneOrMany marks the type for the decoder.
func (List[T]) OneOrMany() {}

// Map is a mapping with free keys in the order in which they are written. Keys are
// never empty and never given twice.
type Map[T any] []Entry[T]

// Entry is one key of a Map and its value. The decoder knows the names of the
// fields.
type Entry[T any] struct {
	Key   string
	Value T
}

// InOrder marks the type for the decoder.
func (Map[T]) InOrder() {}

// Lookup returns the value of a key, and whether it is there.
func (m Map[T]) Lookup(key string) (T, bool) {
	for i := range m {
		if m[i].Key == key {
			return m[i].Value, true
		}
	}
	var zero T
	return zero, false
}

// MarshalJSON writes an object, its keys in order.
func (m Map[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m[i].Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m[i].Value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Any is a value of any shape, kept as compact JSON; keys keep their order. It is
// nil where the key is absent.
type Any []byte

// JSON is the value.
func (a Any) JSON() []byte { return a }

func (a Any) String() string { return string(a) }

// MarshalJSON is the value itself, null where there is none.
func (a Any) MarshalJSON() ([]byte, error) {
	if a == nil {
		return []byte("null"), nil
	}
	return a, nil
}
