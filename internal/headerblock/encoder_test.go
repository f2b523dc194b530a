package headerblock

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// What we encode, somebody else's decoder reads, whatever sizes its table has meanwhile.
func TestEncoderAgainstDecoder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"Content-Type", "x-one", "X-Two", "server", "Set-Cookie", "date", "via", "cache-control", "a-name-that-is-in-no-table", "vary"}
	for round := range 50 {
		var e Encoder
		e.Init()
		decoder := hpack.NewDecoder(4096, nil)
		for block := range 200 {
			if r.IntN(20) == 0 {
				least, last := uint32(r.IntN(6000)), uint32(r.IntN(6000))
				e.SetTable(min(least, last), last)
			}
			out := e.Begin(nil)
			var want []hpack.HeaderField
			for range r.IntN(12) {
				name, value := names[r.IntN(len(names))], fmt.Sprint("value ", r.IntN(30))
				if r.IntN(30) == 0 {
					value = strings.Repeat("0123456789", r.IntN(500))
				}
				out = e.Field(out, name, value)
				want = append(want, hpack.HeaderField{Name: strings.ToLower(name), Value: value})
			}
			got, err := decoder.DecodeFull(out)
			if err != nil || len(got) != len(want) {
				t.Fatalf("round %d, block %d: %v, %d of %d fields", round, block, err, len(got), len(want))
			}
			for i := range got {
				if got[i].Name != want[i].Name || got[i].Value != want[i].Value {
					t.Fatalf("round %d, block %d: %v in place of %v", round, block, got[i], want[i])
				}
				if got[i].Name == "set-cookie" && !got[i].Sensitive {
					t.Fatal("a secret may go into a table")
				}
			}
		}
	}
}

// A field that comes again and again costs one byte or two.
func TestEncoderRemembers(t *testing.T) {
	var e Encoder
	e.Init()
	sizes := []int{}
	for range 4 {
		sizes = append(sizes, len(e.Field(nil, "X-Served-By", "somebody in particular")))
	}
	if sizes[0] < 20 || sizes[1] < 20 || sizes[2] != 1 || sizes[3] != 1 {
		t.Errorf("%v", sizes)
	}
	if n := testing.AllocsPerRun(100, func() { e.Field(make([]byte, 0, 64), "X-Served-By", "somebody in particular") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestStatusAndLength(t *testing.T) {
	t.Parallel()
	decoder := hpack.NewDecoder(4096, nil)
	for status := 100; status < 1000; status++ {
		list, err := decoder.DecodeFull(AppendLength(AppendStatus(nil, status), int64(status)*1_000_000_007))
		if err != nil || len(list) != 2 || list[0].Name != ":status" || list[0].Value != fmt.Sprint(status) ||
			list[1].Name != "content-length" || list[1].Value != fmt.Sprint(int64(status)*1_000_000_007) {
			t.Fatalf("%d: %v %v", status, list, err)
		}
	}
}

func TestKnownFieldsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	decoder := hpack.NewDecoder(4096, nil)
	for _, list := range knownFields {
		for _, f := range list {
			if f.index == 0 {
				continue
			}
			got, err := decoder.DecodeFull(AppendLiteral(nil, 0, 4, f.index, f.name, "v"))
			if err != nil || got[0].Name != f.name {
				t.Errorf("%d is not %s but %v", f.index, f.name, got)
			}
		}
	}
}

// FuzzEncoder makes blocks of whatever fields, with tables of whatever sizes, and reads them back.
func FuzzEncoder(f *testing.F) {
	f.Add([]byte("\x00via\x00a\x01\x10\x20via\x00b"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var e Encoder
		e.Init()
		decoder := hpack.NewDecoder(TableSize, nil)
		for len(script) > 2 {
			if script[0] == 1 {
				least, last := uint32(script[1])<<6, uint32(script[2])<<6
				e.SetTable(min(least, last), last)
				script = script[3:]
				continue
			}
			n := min(int(script[1]%40), len(script)-2)
			text := string(script[2 : 2+n])
			script = script[2+n:]
			name, value := "x-"+strings.Repeat("a", n%5), text
			out := e.Field(e.Begin(nil), name, value)
			got, err := decoder.DecodeFull(out)
			if err != nil || len(got) != 1 || got[0].Name != name || got[0].Value != value {
				t.Fatalf("%q: %q is read as %v, %v", name, value, got, err)
			}
		}
	})
}
