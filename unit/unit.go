// Package unit holds the types in which settings are written: durations, sizes,
// shares, secrets, and lists and mappings of them. A policy's or a target's
// settings struct is made of these, of strings, numbers and booleans, and of
// other structs; config decodes it.
//
// Struct tags describe a field, for the decoder, the JSON Schema and the docs at
// once:
//
//	yaml:"name"       its key; lower_snake_case of the field's name where absent
//	doc:"…"           what it means, one sentence
//	default:"10s"     what it is where the key is absent, as it would be written in YAML
//	required:"true"   the key must be there
//	min:"1" max:"10"  bounds, inclusive: of a number, a duration, a size, a share; of the length of a string or list
//	enum:"a,b"        the words that a string may be
//	pattern:"^/"      a regular expression that a string must match
//
// A type with UnmarshalText is written as one word; a struct with UnmarshalText
// may be written as one word or as a mapping. A type with Validate() error on its
// pointer is checked once it is filled. A type with DecodeSetting decodes itself.
package unit

import (
	"errors"
	"fmt"
)

// Form says how a type is written as one word. A type with UnmarshalText that has
// a method Form() Form gives better messages and a better schema.
type Form struct {
	Name    string // of the type, in the docs: "duration"
	Is      string // completes "this is not …": "a duration such as 30s"
	Pattern string // a regular expression for the schema; "" for any string
}

func notA(text string, form Form) error { return fmt.Errorf("%q is not %s", text, form.Is) }

// NodeKind is the shape of a value in the configuration.
type NodeKind uint8

const (
	Null NodeKind = iota
	Scalar
	Sequence
	Mapping
)

func (k NodeKind) String() string {
	return [...]string{"nothing", "a single value", "a list", "a mapping"}[k]
}

// Node is a value in the configuration; *config.Node is one.
type Node interface {
	Kind() NodeKind
	// Has says whether the node is a mapping with this key.
	Has(key string) bool
	// Decode fills a pointer; the error says where the fault is.
	Decode(into any) error
}

// Keyed is a key whose name is not fixed, and its value. A struct with a field of the
// type []Keyed and the tag yaml:",rest" gets the keys there that no other field has; their
// values are decoded by whoever knows the names.
type Keyed struct {
	Name  string
	Key   Node // the name as it was written, for its place
	Value Node
	// Beside are the names that the fields of the struct have.
	Beside []string
}

// Decoder is implemented, on its pointer, by a type that may be written in several
// shapes and decides itself which one it meets. Its method Alternatives, where
// it has one, returns a value of each shape, for the schema.
type Decoder interface{ DecodeSetting(n Node) error }

// Union is implemented by a Decoder to say what it accepts: a value of each type.
type Union interface{ Alternatives() []any }

// Placed is an error at a place within the settings.
type Placed struct {
	Path string // "windows[1].per"
	Err  error
}

func (p *Placed) Error() string { return p.Path + ": " + p.Err.Error() }
func (p *Placed) Unwrap() error { return p.Err }

// At places an error at a sub-key of the settings: At("windows[1].per", err). A
// Validate method or a build function returns it; whoever reports it finds line and
// column. Several are joined with errors.Join. A nil error stays nil.
func At(path string, err error) error {
	if err == nil {
		return nil
	}
	return &Placed{path, err}
}

// Problem is At with a message.
func Problem(path, message string) error { return &Placed{path, errors.New(message)} }
