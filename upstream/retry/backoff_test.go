package retry

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestBackoffBounds(t *testing.T) {
	t.Parallel()
	b := Backoff{Base: 10 * time.Millisecond, Cap: 100 * time.Millisecond}.WithDefaults()
	for try, want := range map[int]time.Duration{
		-1: 10, 0: 10, 1: 10, 2: 20, 3: 40, 4: 80, 5: 100, 6: 100, 60: 100, 64: 100, 1000: 100, math.MaxInt: 100,
	} {
		want *= time.Millisecond
		if got := b.Delay(try, math.MaxUint64); got != want-1 {
			t.Errorf("try %d: at most %v, want just below %v", try, got, want)
		}
		if got := b.Delay(try, 0); got != 0 {
			t.Errorf("try %d: at least %v", try, got)
		}
	}
}

func TestBackoffDefaults(t *testing.T) {
	t.Parallel()
	if got := (Backoff{}).WithDefaults(); got != (Backoff{DefaultBase, DefaultCap, DefaultAfterCap}) {
		t.Errorf("%+v", got)
	}
	if got := (Backoff{Base: time.Second}).WithDefaults(); got.Cap != time.Second {
		t.Errorf("a base above the default cap: cap %v", got.Cap)
	}
	if got, ok := (Backoff{Base: time.Second}).WithDefaults().DelayAfter(1, 0, time.Nanosecond); ok {
		t.Errorf("without a longest Retry-After one is waited for: %v", got)
	}
	if got := (Backoff{Base: math.MaxInt64}).WithDefaults(); got.Delay(9, math.MaxUint64) != math.MaxInt64-1 {
		t.Errorf("the largest base: %v", got.Delay(9, math.MaxUint64))
	}
}

func TestJitterIsEven(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	b := Backoff{Base: time.Second, Cap: time.Second}
	var tenths [10]int
	for range 10000 {
		tenths[b.Delay(1, random.Uint64())*10/time.Second]++
	}
	for i, n := range tenths {
		if n < 900 || n > 1100 {
			t.Errorf("tenth %d has %d of 10000", i, n)
		}
	}
}

func TestDelayAfter(t *testing.T) {
	t.Parallel()
	b := Backoff{Base: 10 * time.Millisecond, Cap: time.Second, AfterCap: 2 * time.Second}
	for _, c := range []struct {
		after    time.Duration
		from, to time.Duration
		ok       bool
	}{
		{0, 0, 40 * time.Millisecond, true},
		{-time.Second, 0, 40 * time.Millisecond, true},
		{time.Second, time.Second, time.Second + 10*time.Millisecond, true},
		{2 * time.Second, 2 * time.Second, 2*time.Second + 10*time.Millisecond, true},
		{2*time.Second + 1, 0, 1, false},
	} {
		low, ok := b.DelayAfter(3, 0, c.after)
		high, _ := b.DelayAfter(3, math.MaxUint64, c.after)
		if ok != c.ok || low != c.from || high != max(c.to-1, 0) {
			t.Errorf("after %v: %v to %v, %v", c.after, low, high, ok)
		}
	}
}

func TestParseAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "120": 2 * time.Minute, "007": 7 * time.Second,
		"99999999999999999999999999":    maxAfter,
		"Sun, 08 Mar 2026 12:00:30 GMT": 30 * time.Second, "Sunday, 08-Mar-26 12:01:00 GMT": time.Minute,
		"Sun Mar  8 12:00:05 2026": 5 * time.Second, "Sun, 08 Mar 2020 12:00:30 GMT": 0,
	} {
		if got, ok := ParseAfter(value, now); !ok || got != want {
			t.Errorf("%q: %v, %v; want %v", value, got, ok, want)
		}
	}
	for _, value := range []string{"", "-1", "+1", "1.5", "1 ", " 1", "soon", "1s", "Sun, 08 Mar 2026 12:00:30 CET", "0x10"} {
		if got, ok := ParseAfter(value, now); ok {
			t.Errorf("%q is read as %v", value, got)
		}
	}
}

func FuzzParseAfter(f *testing.F) {
	for _, s := range []string{"5", "Sun, 08 Mar 2026 12:00:30 GMT", "-1", "1e9"} {
		f.Add(s)
	}
	now := time.Date(2026, 3, 8, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		if after, ok := ParseAfter(value, now); after < 0 || !ok && after != 0 {
			t.Errorf("%q: %v, %v", value, after, ok)
		}
	})
}

func TestPushback(t *testing.T) {
	t.Parallel()
	b := Backoff{AfterCap: 2 * time.Second}.WithDefaults()
	for value, want := range map[string]time.Duration{"0": 0, "1": time.Millisecond, "2000": 2 * time.Second} {
		if got, ok := b.Pushback(value); !ok || got != want {
			t.Errorf("%q: %v, %v", value, got, ok)
		}
	}
	for _, value := range []string{"", "-1", "2001", "soon", "1.5", "99999999999999999999"} {
		if got, ok := b.Pushback(value); ok || got != 0 {
			t.Errorf("%q is %v", value, got)
		}
	}
}
