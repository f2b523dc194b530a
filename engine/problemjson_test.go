package engine

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-gateway/sluice/message"
)

// FuzzAppendString compares with encoding/json, which reads what we have written.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"quoted\"`, "\x00\x01\x1f\x7f\x80\xff", "\r\n\t", "grüße 😀 \u2028\u2029", "\xed\xa0\x80", "</script>", strings.Repeat("a", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := appendString(nil, s)
		if !json.Valid(out) || !utf8.Valid(out) {
			t.Fatalf("%q is no JSON", out)
		}
		var got string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var want string
		if err := json.Unmarshal(encoded, &want); err != nil || got != want {
			t.Fatalf("%q became %q, not %q", s, got, want)
		}
	})
}

// TestProblemDocuments reads the document of every problem that there is.
func TestProblemDocuments(t *testing.T) {
	t.Parallel()
	for _, p := range message.Problems() {
		for _, detail := range []string{"", "the field \"x\" has a \x01"} {
			for _, id := range []string{"", "7f3a\"\n"} {
				var doc struct {
					Type      string
					Title     string
					Status    int
					Detail    *string
					Code      string
					Source    string
					Retry     string
					RequestID *string `json:"request_id"`
				}
				out := appendProblem(nil, p.WithDetail(detail), id)
				decoder := json.NewDecoder(strings.NewReader(string(out)))
				decoder.DisallowUnknownFields()
				if err := decoder.Decode(&doc); err != nil {
					t.Fatalf("%s: %v", out, err)
				}
				if doc.Status != p.Status || doc.Title != p.Title || doc.Code != p.Code || doc.Source != p.Source.String() || doc.Retry != p.Retry.String() {
					t.Errorf("%s", out)
				}
				if (doc.Detail == nil) != (detail == "") || detail != "" && *doc.Detail != detail || (doc.RequestID == nil) != (id == "") || id != "" && *doc.RequestID != id {
					t.Errorf("%s", out)
				}
			}
		}
	}
}
