package date

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	var c Cache
	east := time.FixedZone("east", 2*60*60)
	for _, at := range []time.Time{
		time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC),
		time.Date(1994, 11, 6, 8, 49, 37, 999_999_999, time.UTC),
		time.Date(1994, 11, 6, 8, 49, 38, 0, time.UTC),
		time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC), // A clock may go back.
		time.Date(2026, 1, 1, 1, 0, 0, 0, east),
		time.Unix(0, 0),
	} {
		want := "Date: " + at.UTC().Format(http.TimeFormat)
		if got := string(c.Append([]byte("Date: "), at)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if len(http.TimeFormat) != Length {
		t.Errorf("Length is %d", Length)
	}
}

// Connections on all cores share a cache while the second changes.
func TestAppendFromManyGoroutines(t *testing.T) {
	t.Parallel()
	var c Cache
	var done sync.WaitGroup
	for i := range 4 {
		done.Go(func() {
			for second := range int64(500) {
				at := time.Unix(second+int64(i%2), 0)
				if got, want := string(c.Append(nil, at)), at.UTC().Format(http.TimeFormat); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
	done.Wait()
}

func TestAppendAllocatesNothing(t *testing.T) {
	var c Cache
	out, at := make([]byte, 0, 64), time.Unix(1, 0)
	c.Append(out, at)
	if n := testing.AllocsPerRun(100, func() { c.Append(out, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
