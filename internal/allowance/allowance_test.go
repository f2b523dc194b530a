package allowance

import (
	"math"
	"testing"
)

type kind uint8

const (
	ping kind = iota
	reset
)

const second = int64(1e9)

// at is a clock that stands.
func at(now int64) func() int64 { return func() int64 { return now } }

// spendAll says how often one can be spent.
func spendAll(b *Budgets[kind], k kind, now int64) int {
	n := 0
	for b.Spend(k, 1, at(now)) {
		n++
	}
	return n
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	var b Budgets[kind]
	b.Init(5*second, 32, 4)
	if n := spendAll(&b, ping, 5*second); n != 32 {
		t.Errorf("%d of 32", n)
	}
	if n := spendAll(&b, ping, 6*second-1); n != 0 {
		t.Errorf("%d came back within a second", n)
	}
	if n := spendAll(&b, ping, 7*second); n != 4 {
		t.Errorf("%d came back in two seconds, want a sixteenth of 32 for each", n)
	}
	if n := spendAll(&b, reset, 7*second); n != 4 {
		t.Errorf("the other budget had %d of 4", n)
	}
	if n := spendAll(&b, reset, 8*second); n != 1 {
		t.Errorf("%d came back to a small budget, want at least one a second", n)
	}
	spendAll(&b, ping, 8*second)
	if n := spendAll(&b, ping, 1000*second); n != 32 {
		t.Errorf("%d after a long time: no more than the whole budget", n)
	}
}

func TestEarn(t *testing.T) {
	t.Parallel()
	var b Budgets[kind]
	b.Init(0, 3)
	spendAll(&b, ping, 0)
	b.Earn(ping, 1)
	if b.Spend(ping, 1, at(0)) {
		t.Error("half a unit was enough")
	}
	b.Earn(ping, 1)
	if !b.Spend(ping, 1, at(0)) {
		t.Error("two halves were not enough")
	}
	b.Earn(ping, 1000)
	if n := spendAll(&b, ping, 0); n != 3 {
		t.Errorf("%d were earned, more than the budget has room for", n)
	}
}

// Spending many at once, and budgets without an end, stay within the numbers.
func TestLargeNumbers(t *testing.T) {
	t.Parallel()
	var b Budgets[kind]
	b.Init(0, math.MaxInt, 10)
	if !b.Spend(ping, math.MaxInt32, at(0)) {
		t.Error("a budget without an end has one")
	}
	if b.Spend(reset, 11, at(0)) || !b.Spend(reset, 10, at(0)) {
		t.Error("eleven of ten, or not ten of ten")
	}
}
