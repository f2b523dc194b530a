package message

import (
	"slices"
	"strings"
	"testing"
)

func header(fields ...string) *Header {
	h := &Header{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		h.Append(name, value)
	}
	return h
}

func text(h *Header) string {
	var all []string
	for _, f := range h.Fields() {
		all = append(all, f.Name+"="+f.Value)
	}
	return strings.Join(all, " ")
}

func TestHeaderChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(h *Header)
		want   string
	}{
		{"nothing", func(*Header) {}, "A=1 B=2 a=3 C=4"},
		{"Add", func(h *Header) { h.Add("a", "5") }, "A=1 B=2 a=3 C=4 a=5"},
		{"Add cleans", func(h *Header) { h.Add("D", "x\r\nEvil: 1\x00\x7f\ty") }, "A=1 B=2 a=3 C=4 D=x  Evil: 1  \ty"},
		{"Add of no name", func(h *Header) { h.Add("", "x"); h.Add("a b", "x"); h.Add("a:", "x"); h.Add("a\r\n", "x") }, "A=1 B=2 a=3 C=4"},
		{"Set of several", func(h *Header) { h.Set("a", "5") }, "A=5 B=2 C=4"},
		{"Set of one", func(h *Header) { h.Set("B", "5\n") }, "A=1 B=5  a=3 C=4"},
		{"Set of none", func(h *Header) { h.Set("D", "5") }, "A=1 B=2 a=3 C=4 D=5"},
		{"Set of no name", func(h *Header) { h.Set("D\n", "5") }, "A=1 B=2 a=3 C=4"},
		{"Del of several", func(h *Header) {
			if !h.Del("a") {
				h.Add("X", "Del said no")
			}
		}, "B=2 C=4"},
		{"Del of none", func(h *Header) {
			if h.Del("D") {
				h.Add("X", "Del said yes")
			}
		}, "A=1 B=2 a=3 C=4"},
		{"Truncate", func(h *Header) { h.Truncate(2) }, "A=1 B=2"},
		{"Truncate and Append", func(h *Header) { h.Truncate(1); h.Append("D", "5") }, "A=1 D=5"},
		{"Reset", func(h *Header) { h.Reset() }, ""},
		{"CopyFrom itself", func(h *Header) { h.CopyFrom(h) }, "A=1 B=2 a=3 C=4"},
		{"CopyFrom", func(h *Header) { h.CopyFrom(header("X=1")) }, "X=1"},
	} {
		h := header("A=1", "B=2", "a=3", "C=4")
		if c.change(h); text(h) != c.want {
			t.Errorf("%s: %q, wanted %q", c.name, text(h), c.want)
		}
	}
}

// What a header no longer holds its room must not keep alive, nor show again.
func TestHeaderForgets(t *testing.T) {
	t.Parallel()
	h := header("A=1", "B=2", "A=3")
	room := h.Fields()[:3]
	h.Del("A")
	if text(h) != "B=2" || room[1] != (Field{}) || room[2] != (Field{}) {
		t.Errorf("%q, %v", text(h), room)
	}
	h.Truncate(0)
	if room[0] != (Field{}) {
		t.Errorf("%v", room)
	}
	// A copy does not share its room.
	a, b := header("A=1"), &Header{}
	b.CopyFrom(a)
	a.Set("A", "2")
	b.Append("C", "3")
	if text(a) != "A=2" || text(b) != "A=1 C=3" {
		t.Errorf("%q, %q", text(a), text(b))
	}
}

func TestHeaderLooks(t *testing.T) {
	t.Parallel()
	h := header("A=1", "B=", "a=3")
	if v, ok := h.Lookup("b"); v != "" || !ok || !h.Has("B") || h.Has("C") || h.Get("a") != "1" || h.Get("C") != "" {
		t.Error("one field")
	}
	if h.Count("A") != 2 || h.Count("C") != 0 || h.Len() != 3 || !slices.Equal(h.Values([]string{"0"}, "a"), []string{"0", "1", "3"}) {
		t.Error("several fields")
	}
	if h.Joined("a") != "1, 3" || h.Joined("B") != "" || h.Joined("C") != "" {
		t.Error("joined")
	}
}

func TestHeaderBudget(t *testing.T) {
	h := header("A=1", "B=2", "a=3")
	if n := testing.AllocsPerRun(100, func() {
		h.Set("X-Longer-Name", "value")
		h.Add("b", "value")
		h.Del("B")
		h.Del("X-Longer-Name")
		_ = h.Joined("B")
		h.Add("B", "2")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		want := strings.ContainsRune("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", rune(c)) && c < 128
		if IsToken(byte(c)) != want || ValidName(string([]byte{byte(c)})) != want {
			t.Errorf("%#x as a token", c)
		}
		value := c >= ' ' && c != 0x7f || c == '\t'
		s := string([]byte{'a', byte(c), 'b'})
		if ValidValue(s) != value {
			t.Errorf("%#x in a value", c)
		}
		if clean := CleanValue(s); value && clean != s || !value && clean != "a b" {
			t.Errorf("%q cleaned is %q", s, clean)
		}
	}
	if ValidName("") || !ValidValue("") || CleanValue("") != "" {
		t.Error("the empty string")
	}
}

func TestEqualFold(t *testing.T) {
	t.Parallel()
	for a := range 128 {
		for b := range 128 {
			x, y := string(rune(a)), string(rune(b))
			if EqualFold(x, y) != strings.EqualFold(x, y) {
				t.Errorf("%q and %q", x, y)
			}
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"Content-Length", "content-LENGTH", true}, {"", "", true}, {"a", "", false}, {"a", "ab", false}, {"a", "b", false},
		{"\u212a", "k", false}, {"\u017f", "s", false}, {"\u00c4", "\u00e4", false}, {"[", "{", false}, {"@", "`", false},
	} {
		if EqualFold(c.a, c.b) != c.want || EqualFold(c.b, c.a) != c.want {
			t.Errorf("%q and %q", c.a, c.b)
		}
	}
	if LowerASCII("AbC-\u00c4[") != "abc-\u00c4[" || LowerASCII("") != "" {
		t.Error("LowerASCII")
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"": nil, "a": {"a"}, "a,b": {"a", "b"}, " a ,\tb\t": {"a", "b"}, "a,,b": {"a", "", "b"}, ",a": {"", "a"}, "a,": {"a"}, "a b, c": {"a b", "c"},
	} {
		var got []string
		for rest := list; rest != ""; {
			var item string
			item, rest = NextListItem(rest)
			got = append(got, item)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q", list, got)
		}
	}
	for _, c := range []struct {
		list, token string
		want        bool
	}{
		{"close", "Close", true}, {"keep-alive, CLOSE", "close", true}, {"closed", "close", false}, {"x close", "close", false},
		{"", "close", false}, {",,close", "close", true}, {"a;b", "a", false},
	} {
		if HasToken(c.list, c.token) != c.want {
			t.Errorf("%q in %q", c.token, c.list)
		}
	}
}
