// Package allowance bounds how much of what is of no use one connection may do: budgets that
// are used up by it, and that fill again with time and with what the connection does of use.
package allowance

// Kinds is how many budgets a connection has at most.
const Kinds = 8

// Budgets are the budgets of one connection, by kind. They count in halves, so that two good deeds
// can pay for one bad one. Whoever has the connection's lock uses them.
type Budgets[K ~uint8] struct {
	left, full [Kinds]int32
	filled     int64 // clock of the last time that they were filled
}

// largest keeps sums of halves within an int32.
const largest = 1 << 29

// Init fills all budgets; full has one number for each kind, in their order. Now is in nanoseconds.
func (b *Budgets[K]) Init(now int64, full ...int) {
	for kind, n := range full {
		b.full[kind] = int32(min(n, largest)) * 2
	}
	b.left, b.filled = b.full, now
}

// Spend takes n from a budget and says whether there was as much. The clock is read only where
// there was not: time may have brought it.
func (b *Budgets[K]) Spend(kind K, n int32, clock func() int64) bool {
	halves := min(n, largest) * 2
	if b.left[kind] < halves {
		b.fill(clock())
	}
	if b.left[kind] < halves {
		return false
	}
	b.left[kind] -= halves
	return true
}

// Earn gives halves back, as far as the budget goes.
func (b *Budgets[K]) Earn(kind K, halves int32) {
	b.left[kind] = min(b.left[kind]+halves, b.full[kind])
}

// fill gives back what time has brought: a sixteenth of each budget a second, and at least one.
func (b *Budgets[K]) fill(now int64) {
	seconds := (now - b.filled) / 1e9
	if seconds <= 0 {
		return
	}
	b.filled += seconds * 1e9
	parts := int32(min(seconds, 16))
	for kind := range b.left {
		b.Earn(K(kind), max(b.full[kind]/16, 2)*parts)
	}
}
