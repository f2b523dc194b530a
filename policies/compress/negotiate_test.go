package compress

import (
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	order := []coding{zstandard, br, gz}
	for _, c := range []struct {
		fields string // separated by "|"; "-" for none
		want   coding
	}{
		{"-", none},
		{"", none},
		{"gzip", gz},
		{"x-gzip", gz},
		{"GZip", gz},
		{"gzip, deflate, br, zstd", zstandard},
		{"gzip, deflate, br", br},
		{"deflate", none},
		{"gzip|br", br},
		{"*", zstandard},
		{"*;q=0", none},
		{"gzip, *;q=0", gz},
		{"zstd;q=0, *", br},
		{"gzip;q=1.0, br;q=0.9, zstd;q=0.899", gz},
		{"gzip;q=0.001", gz},
		{"gzip;q=0", none},
		{"gzip;q=0.000", none},
		{"gzip ; q=0.5 , br;q=0.4", gz},
		{"gzip;Q=0.5", gz},
		{"gzip;q=0.5, identity", none},
		{"gzip;q=0.5, identity;q=0.5", gz},
		{"gzip;q=0.5, identity;q=0.6", none},
		{"identity;q=0", none},
		{"identity;q=0, gzip;q=0.1", gz},
		{"gzip;q=2", none},
		{"gzip;q=1.001", none},
		{"gzip;q=0.1234", none},
		{"gzip;q=", none},
		{"gzip;q=a", none},
		{"gzip;level=9", none},
		{",,gzip,", gz},
	} {
		var h message.Header
		if c.fields != "-" {
			for f := range strings.SplitSeq(c.fields, "|") {
				h.Append("accept-encoding", f)
			}
		}
		if got := choose(&h, order); got != c.want {
			t.Errorf("%q: got %s, want %s", c.fields, got, c.want)
		}
	}
	var h message.Header
	h.Append("Accept-Encoding", "gzip, br, zstd")
	if got := choose(&h, []coding{gz, zstandard}); got != gz {
		t.Errorf("with gzip first: %s", got)
	}
}

func FuzzWeight(f *testing.F) {
	for _, s := range []string{"q=1", "q=0.5", "q=1.000", "q=0.", "Q=0.123", "q=1.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseWeight(s)
		number, isQ := strings.CutPrefix(strings.ToLower(s), "q=")
		slow, err := strconv.ParseFloat(number, 64)
		plain := strings.Trim(number, "0123456789.") == "" &&
			(number == "0" || number == "1" || strings.HasPrefix(number, "0.") || strings.HasPrefix(number, "1."))
		want := isQ && err == nil && plain && slow <= 1 && len(number) <= 5
		if ok != want || ok && got != int(slow*1000+0.5) {
			t.Errorf("%q: got %d, %v; slow %v, %v", s, got, ok, slow, want)
		}
	})
}
