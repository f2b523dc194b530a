package unit

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "30s": 30 * time.Second, "2h": 2 * time.Hour,
		"1d": 24 * time.Hour, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "7us": 7 * time.Microsecond, "3ns": 3,
		"1d12h": 36 * time.Hour,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%s: got %v, %v, want %v", text, d.Std(), err, want)
		}
		var again Duration
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%s: %s does not read back: %v", text, d, err)
		}
	}
	for text, want := range map[string]string{
		"30":      `"30" has no unit: write 30ms, 30s, 30m, 30h or 30d`,
		"0":       `"0" has no unit`,
		"":        `is not a duration such as`,
		"s":       `is not a duration such as`,
		"-3s":     `is not a duration such as`,
		"3 s":     `is not a duration such as`,
		"3w":      `is not a duration such as`,
		"1..5s":   `is not a duration such as`,
		"99999d9": `longer than the longest`,
		"999999d": `longer than the longest`,
	} {
		refuse(t, new(Duration), text, want)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0B": 0, "512B": 512, "64KiB": 65536, "10MiB": 10 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40, "1500B": 1500} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s.Bytes() != want || s.String() != text {
			t.Errorf("%s: got %v (%s), %v, want %v", text, s.Bytes(), s, err, want)
		}
	}
	for text, want := range map[string]string{
		"64":         `"64" has no unit: write 64B, 64KiB or 64MiB`,
		"64KB":       `write 64KiB (1KiB is 1024 bytes)`,
		"1k":         `write 1KiB`,
		"1.5MiB":     `is not a size`,
		"MiB":        `is not a size`,
		"1MiB2":      `is not a size`,
		"9000000TiB": `larger than the largest`,
	} {
		refuse(t, new(Size), text, want)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"0%": 0, "20%": 0.2, "0.5%": 0.005, "100%": 1, "7%": 0.07, "33.3333%": 0.333333} {
		var s Share
		if err := s.UnmarshalText([]byte(text)); err != nil || s.Fraction() != want || s.String() != text {
			t.Errorf("%s: got %v (%s), %v, want %v", text, s.Fraction(), s, err, want)
		}
	}
	for text, want := range map[string]string{
		"20":       `has no unit`,
		"101%":     `more than the whole`,
		"100.1%":   `more than the whole`,
		"%":        `is not a share`,
		"1.23456%": `is not a share`,
		"-1%":      `is not a share`,
	} {
		refuse(t, new(Share), text, want)
	}
}

func refuse(t *testing.T, into encoding.TextUnmarshaler, text, want string) {
	t.Helper()
	if err := into.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%T %q: got %v, want an error with %q", into, text, err, want)
	}
}

func TestPatternsAgreeWithTheParsers(t *testing.T) {
	t.Parallel()
	words := []string{"", "0", "1", "30s", "1h30m", "1.5s", ".5s", "1.s", "5", "1d", "1w", "64KiB", "64kb", "1B", "1.5MiB", "20%", "100%", "0.5%", "1.23456%", "%", " 1s", "1s "}
	for _, word := range words {
		for _, into := range []interface {
			encoding.TextUnmarshaler
			Form() Form
		}{new(Duration), new(Size), new(Share)} {
			matches := regexp.MustCompile(into.Form().Pattern).MatchString(word)
			if err := into.UnmarshalText([]byte(word)); (err == nil) != matches {
				t.Errorf("%T %q: the pattern says %v, the parser %v", into, word, matches, err)
			}
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	var s Secret
	if err := s.UnmarshalText([]byte(value)); err != nil {
		t.Fatal(err)
	}
	type outer struct {
		Open   Secret
		closed Secret
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", outer{s, s})
		fmt.Fprintf(&out, verb+"\n", []Secret{s})
	}
	if err := json.NewEncoder(&out).Encode(outer{Open: s}); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "a", s, "b", outer{s, s}, "c", &s)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "a", s, "b", outer{s, s}, "c", &s)
	for _, leak := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the secret is printed: %s", out.String())
		}
	}
	if s.Reveal() != value || !s.IsSet() || (Secret{}).IsSet() {
		t.Error("the secret is not kept")
	}
	refuse(t, new(Secret), "", "empty")
}

func TestRegexp(t *testing.T) {
	t.Parallel()
	var r Regexp
	if err := r.UnmarshalText([]byte("^/v[0-9]+/")); err != nil || !r.MatchString("/v12/x") {
		t.Errorf("got %v, %v", r, err)
	}
	refuse(t, new(Regexp), "a(", "missing closing )")
	refuse(t, new(Regexp), "", "empty")
	refuse(t, new(Regexp), strings.Repeat("a", maxRegexp+1), "longer than")
}

func TestMapKeepsItsOrder(t *testing.T) {
	t.Parallel()
	m := Map[int]{{"b", 1}, {"a", 2}}
	text, err := json.Marshal(m)
	if err != nil || string(text) != `{"b":1,"a":2}` {
		t.Errorf("got %s, %v", text, err)
	}
	if v, ok := m.Lookup("a"); v != 2 || !ok {
		t.Errorf("got %d, %v", v, ok)
	}
	if _, ok := m.Lookup("c"); ok {
		t.Error("found a key that is not there")
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	if At("a", nil) != nil {
		t.Error("no error became one")
	}
	cause := errors.New("too small")
	err := At("windows[1].per", cause)
	var placed *Placed
	if !errors.As(err, &placed) || placed.Path != "windows[1].per" || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"1d", "1.5s", "1h30m", "99999999999999999999s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is negative: %d", text, d)
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Fatalf("%q: %s does not read back: %v", text, d, err)
		}
	})
}
