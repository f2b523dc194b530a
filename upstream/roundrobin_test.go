package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// slowSchedule is smooth without classes.
func slowSchedule(weights []int) (schedule []uint16) {
	total, divisor := 0, 0
	for _, w := range weights {
		divisor = gcd(w, divisor)
	}
	for _, w := range weights {
		total += w / divisor
	}
	credit := make([]int, len(weights))
	for range total {
		best := 0
		for i := range credit {
			credit[i] += weights[i] / divisor
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		schedule = append(schedule, uint16(best))
	}
	return schedule
}

func TestScheduleOfClasses(t *testing.T) {
	t.Parallel()
	lists := [][]int{{5, 1, 1}, {1, 1}, {1, 2, 1, 2}, {4, 2, 2}, slices.Repeat([]int{1}, 4096)}
	for range 300 {
		var weights []int
		for range 2 + rand.IntN(30) {
			weights = append(weights, 1+rand.IntN(1+rand.IntN(40)))
		}
		lists = append(lists, weights)
	}
	for _, weights := range lists {
		b, ok := newRoundRobin(endpoints(weights...)).(*roundRobin)
		if !ok {
			t.Errorf("%v: %d endpoints share turns", weights[:2], len(weights))
			continue
		}
		if want := slowSchedule(weights); !slices.Equal(b.schedule, want) {
			t.Errorf("%v: %v, want %v", weights, b.schedule, want)
		}
	}
}

// TestManyEndpointsInTurn: each gets its share of requests, and those of one weight one each before
// anybody gets a second one.
func TestManyEndpointsInTurn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		n      int
		weight func(i int) int
		slack  float64 // of a share
	}{
		{"all alike", 10_000, func(int) int { return 1 }, 0},
		{"three weights", 10_000, func(i int) int { return 1 + i%3 }, 0},
		{"far apart", 10_000, func(i int) int { return 1 + 999*(i%2) }, 0},
		{"all different", 5000, func(i int) int { return 10_000 + i }, 0.02},
	} {
		weights := make([]int, c.n)
		sum := 0
		for i := range weights {
			weights[i] = c.weight(i)
			sum += weights[i]
		}
		all := endpoints(weights...)
		b := newRoundRobin(all).(*sharedTurns)
		if len(b.schedule) > 2*maxSchedule {
			t.Errorf("%s: the schedule has %d turns", c.name, len(b.schedule))
		}
		draws := 20 * 4096 * 5
		for i, got := range draw(b, all, draws, triedSet{}) {
			want := float64(draws) * float64(weights[i]) / float64(sum)
			// What has come of a schedule, and of the turns in a class, may be there or not.
			if math.Abs(float64(got)-want) > 2+want*c.slack+want*float64(len(b.schedule))/float64(draws) {
				t.Fatalf("%s: endpoint %d, weight %d, was chosen %d times, want %.1f", c.name, i, weights[i], got, want)
			}
		}
		var tried triedSet
		for range 5 {
			e := b.pick(hint{}, tried)
			if tried.has(e) {
				t.Errorf("%s: %s is tried twice", c.name, e.address)
			}
			tried.add(e)
			if tried.n == c.n {
				break
			}
		}
	}
}

func BenchmarkRoundRobin(b *testing.B) {
	for _, n := range []int{3, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			u := New(many(n, "round_robin"), &counts{}, nil)
			s := u.chosen.Load()
			b.ReportAllocs()
			for b.Loop() {
				s.pick(u, hint{}, triedSet{})
			}
		})
	}
}
