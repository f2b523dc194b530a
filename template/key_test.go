package template

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// Values of hash, from FNV-1a and the finaliser computed apart from this package.
const (
	hashAnn     = 0x8096e52ad559ed80
	hashNothing = 0xf52a15e9a9b5e89b
)

// TestHashStays: another hash would move every user at an update of the gateway.
func TestHashStays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"ann": hashAnn, "": hashNothing} {
		if got := hash([]byte(text)); got != want {
			t.Errorf("hash of %q: %#x, want %#x", text, got, want)
		}
	}
}

func named(name string) *message.Exchange {
	x := &message.Exchange{}
	x.Facts.Consumer = &message.Consumer{Name: name}
	return x
}

// TestKeyDraws: the part of the total at which a key is stays, whatever the total is,
// and keys are spread evenly.
func TestKeyDraws(t *testing.T) {
	t.Parallel()
	k, err := ParseKey("orders {consumer.name}")
	if err != nil {
		t.Fatal(err)
	}
	const users = 20_000
	low := 0
	for i := range users {
		x := named(fmt.Sprint("user-", i))
		small, large := k.Draw(x, 100), k.Draw(x, 1_000_000)
		if small != k.Draw(x, 100) || small != large/10_000 {
			t.Fatalf("user %d draws %d of 100 and %d of a million", i, small, large)
		}
		if small < 20 {
			low++
		}
	}
	if got := float64(low) / users; math.Abs(got-0.2) > 0.02 {
		t.Errorf("%.3f of the users are below a fifth", got)
	}
}

// TestNoKeyIsRandom: all on one side has a chance of 2 in 2^200.
func TestNoKeyIsRandom(t *testing.T) {
	t.Parallel()
	none, err := ParseKey("")
	if none != nil || err != nil {
		t.Fatalf("%v, %v", none, err)
	}
	blank, err := ParseKey("orders {consumer.name}")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Key{none, blank} {
		seen := [2]bool{}
		for range 200 {
			seen[k.Draw(&message.Exchange{}, 2)] = true
		}
		if !seen[0] || !seen[1] {
			t.Errorf("all are on one side: %v", seen)
		}
	}
}

func TestKeyProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"everybody":         "is the same for all requests",
		"{consumer.nam}":    "character 1",
		"{response.status}": "response.status",
	} {
		if _, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v lacks %q", text, err, want)
		}
	}
}

func TestKeyAllocations(t *testing.T) {
	k, err := ParseKey("orders {consumer.name}")
	if err != nil {
		t.Fatal(err)
	}
	x := named("ann")
	if n := testing.AllocsPerRun(100, func() { k.Draw(x, 100) }); n != 0 {
		t.Errorf("%v allocations, none is the budget", n)
	}
}
