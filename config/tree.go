package config

import (
	"github.com/sluice-gateway/sluice/internal/scalar"
	"github.com/sluice-gateway/sluice/unit"
)

// tree is a value as it was written. It is immutable once it is built, so that
// many documents can share it, and small, because every policy and target of
// every route keeps its own.
type tree struct {
	kind  unit.NodeKind
	look  look // what a plain scalar looks like
	plain bool // a scalar without quotes
	// expanded says that a reference was put into text; children[0].text is then
	// what was written.
	expanded bool
	broken   bool  // a problem with it was reported: there is nothing to add
	line     int32 // from 1 within the chunk that was parsed
	column   int32 // from 1, in characters
	text     string
	children []tree // of a mapping: key, value, key, value, …
}

// look is what a plain scalar looks like.
type look = scalar.Look

const (
	looksText  = scalar.Text
	looksInt   = scalar.Int
	looksFloat = scalar.Float
	looksBool  = scalar.Bool
	looksNull  = scalar.Null
)

// written is the scalar as it stands in the file.
func (t *tree) written() string {
	if t.expanded {
		return t.children[0].text
	}
	return t.text
}

// child returns the value of a key of a mapping, or nil.
func (t *tree) child(key string) *tree {
	if t.kind != unit.Mapping {
		return nil
	}
	for i := 0; i+1 < len(t.children); i += 2 {
		if t.children[i].text == key {
			return &t.children[i+1]
		}
	}
	return nil
}

// keysUnder are the keys of the mapping under a key, "" for this one.
func (t *tree) keysUnder(key string) (keys []string) {
	if key != "" {
		t = t.child(key)
	}
	if t == nil || t.kind != unit.Mapping {
		return nil
	}
	for i := 0; i < len(t.children); i += 2 {
		keys = append(keys, t.children[i].text)
	}
	return keys
}

// plainScalar finishes a scalar without quotes: it finds out what it looks like.
func (t *tree) plainScalar() {
	t.plain = true
	t.look = scalar.LooksLike(t.text)
	t.kind = unit.Scalar
	if t.look == looksNull {
		t.kind = unit.Null
	}
}
