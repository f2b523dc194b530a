package compile

import "testing"

// A route can be closed when no snapshot of the stretch in which it lived is open,
// in whatever order they close.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	early := &sharedRoute{first: 1}
	late := &sharedRoute{first: 2}
	var l lifetimes
	for number := uint64(1); number <= 4; number++ {
		l.opened(number)
	}
	steps := []struct {
		name   string
		number uint64
		left   []*sharedRoute
		free   []*sharedRoute
	}{
		{"the last that has late, while the one before it is open", 3, []*sharedRoute{late}, nil},
		{"an older one than late, which has early", 1, nil, nil},
		{"the last that has either", 2, []*sharedRoute{early}, []*sharedRoute{late, early}},
		{"one that nobody left", 4, nil, nil},
	}
	for _, s := range steps {
		free := l.closed(s.number, s.left)
		if len(free) != len(s.free) {
			t.Fatalf("%s: %d routes can be closed, want %d", s.name, len(free), len(s.free))
		}
		for i := range free {
			if free[i] != s.free[i] {
				t.Errorf("%s: route %d is another one", s.name, i)
			}
		}
	}
	if len(l.open)+len(l.waiting) != 0 {
		t.Errorf("%d results and %d routes are left", len(l.open), len(l.waiting))
	}
}
