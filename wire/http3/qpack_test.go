package http3

import (
	"testing"

	"github.com/quic-go/qpack"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/message/section"
)

// The table must be that of the RFC: what somebody else's encoder and decoder make of it decides.
func TestStaticTable(t *testing.T) {
	t.Parallel()
	if len(staticTable) != 99 {
		t.Fatalf("%d entries", len(staticTable))
	}
	for i, p := range staticTable {
		block := appendInt(appendSection(nil), indexedStatic, 6, uint64(i))
		f, err := qpack.NewDecoder().Decode(block)()
		if err != nil || f.Name != p.name || f.Value != p.value {
			t.Errorf("entry %d is %q, %q, not %v (%v)", i, p.name, p.value, f, err)
		}
	}
}

// What we encode, somebody else decodes.
func TestEncoder(t *testing.T) {
	t.Parallel()
	for _, f := range []struct{ name, value, lower string }{
		{"Content-Type", "application/json", "content-type"}, {"content-type", "text/odd", "content-type"}, {"Server", "x", "server"},
		{"X-Odd-Name", "value", "x-odd-name"}, {"set-cookie", "a=b", "set-cookie"}, {"X-Api-Key", "secret", "x-api-key"},
		{"vary", "accept-encoding", "vary"}, {"a", "", "a"}, {"a-name-that-is-far-too-long-for-any-table-that-we-have", "v", "a-name-that-is-far-too-long-for-any-table-that-we-have"},
	} {
		got, err := qpack.NewDecoder().Decode(appendField(appendSection(nil), f.name, f.value))()
		if err != nil || got.Name != f.lower || got.Value != f.value {
			t.Errorf("%v came back as %v, %v", f, got, err)
		}
	}
	for status := 100; status < 600; status++ {
		got, err := qpack.NewDecoder().Decode(appendStatus(appendSection(nil), status))()
		want := string([]byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)})
		if err != nil || got.Name != ":status" || got.Value != want {
			t.Errorf("%d came back as %v, %v", status, got, err)
		}
	}
	got, err := qpack.NewDecoder().Decode(appendLength(appendSection(nil), 1234567890))()
	if err != nil || got.Name != "content-length" || got.Value != "1234567890" {
		t.Error(got, err)
	}
}

// decodeAll decodes a section into pairs.
func decodeAll(block []byte) ([]message.Field, bool) {
	var d decoder
	var h section.Head
	var fields message.Header
	h.Begin(section.Trailer, &fields, 1<<20, 1000)
	ok := d.decode(block, &h, 1000)
	return fields.Fields(), ok
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		block string
		want  []message.Field
		fails bool
	}{
		"empty":                  {block: "\x00\x00"},
		"no prefix":              {block: "", fails: true},
		"half a prefix":          {block: "\x00", fails: true},
		"inserts":                {block: "\x01\x00", fails: true},
		"negative base":          {block: "\x00\x80", fails: true},
		"indexed":                {block: "\x00\x00\xc2", want: []message.Field{{Name: "age", Value: "0"}}},
		"indexed, too far":       {block: "\x00\x00\xff\x24", fails: true},
		"indexed, dynamic":       {block: "\x00\x00\x80", fails: true},
		"indexed, post-base":     {block: "\x00\x00\x10", fails: true},
		"static name":            {block: "\x00\x00\x52\x01x", want: []message.Field{{Name: "age", Value: "x"}}},
		"static name, no value":  {block: "\x00\x00\x52", fails: true},
		"static name, cut value": {block: "\x00\x00\x52\x02x", fails: true},
		"dynamic name":           {block: "\x00\x00\x40\x01x", fails: true},
		"post-base name":         {block: "\x00\x00\x00\x01x", fails: true},
		"literal":                {block: "\x00\x00\x21a\x01x", want: []message.Field{{Name: "a", Value: "x"}}},
		"literal, never":         {block: "\x00\x00\x31a\x01x", want: []message.Field{{Name: "a", Value: "x"}}},
		"literal, Huffman":       {block: "\x00\x00\x21a\x81\xf3", want: []message.Field{{Name: "a", Value: "x"}}},
		"literal, bad Huffman":   {block: "\x00\x00\x21a\x81\x00", fails: true},
		"endless number":         {block: "\x00\x00\x27\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", fails: true},
	} {
		got, ok := decodeAll([]byte(c.block))
		if ok == c.fails || len(got) != len(c.want) || len(got) > 0 && got[0] != c.want[0] {
			t.Errorf("%s: %v, %v", name, got, ok)
		}
	}
}
