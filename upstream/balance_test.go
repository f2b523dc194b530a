package upstream

import (
	"fmt"
	"math"
	"strconv"
	"testing"
)

func endpoints(weights ...int) []*Endpoint {
	var all []*Endpoint
	for i, w := range weights {
		all = append(all, &Endpoint{address: fmt.Sprint(i), weight: w})
	}
	return all
}

// placeOf is where an endpoint stands in a list that endpoints has made.
func placeOf(e *Endpoint) int {
	i, err := strconv.Atoi(e.address)
	if err != nil {
		panic(err)
	}
	return i
}

func choosing(balance Balance, all []*Endpoint) balancer {
	return newBalancer(&Config{Balance: balance}, all)
}

// draw picks n times and counts by endpoint.
func draw(b balancer, all []*Endpoint, n int, tried triedSet) []int {
	counts := make([]int, len(all))
	for range n {
		counts[placeOf(b.pick(hint{}, tried))]++
	}
	return counts
}

// TestShares draws often and compares the shares with the weights.
func TestShares(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]int{{1}, {1, 1}, {1, 1, 1}, {5, 1, 1}, {1, 2, 3, 4}, {100, 1}, {1000, 2000, 3000}, {9973, 1, 5000}} {
		sum := 0
		for _, w := range weights {
			sum += w
		}
		for _, balance := range []Balance{RoundRobin, LeastRequest, Random} {
			all := endpoints(weights...)
			const n = 70_000
			for i, got := range draw(choosing(balance, all), all, n, triedSet{}) {
				share := float64(weights[i]) / float64(sum)
				// Six standard deviations and what scaling down a schedule may cost.
				slack := 6*math.Sqrt(n*share*(1-share)) + 2 + n*0.0005
				if math.Abs(float64(got)-n*share) > slack {
					t.Errorf("%s %v: endpoint %d was chosen %d times of %d", balance, weights, i, got, n)
				}
			}
		}
	}
}

// TestRoundRobinIsSmooth looks at each run of the length of a schedule: every
// endpoint has exactly its share in it, and a heavy one does not come in a burst.
func TestRoundRobinIsSmooth(t *testing.T) {
	t.Parallel()
	all := endpoints(5, 1, 1)
	b := choosing(RoundRobin, all)
	var order []int
	for range 70 {
		order = append(order, placeOf(b.pick(hint{}, triedSet{})))
	}
	for start := 0; start+7 <= len(order); start++ {
		counts := [3]int{}
		for _, i := range order[start : start+7] {
			counts[i]++
		}
		if counts != [3]int{5, 1, 1} {
			t.Fatalf("from %d on: %v", start, order[start:start+7])
		}
	}
	for start := 0; start+5 <= len(order); start++ {
		if o := order[start : start+5]; o[0] == 0 && o[1] == 0 && o[2] == 0 && o[3] == 0 && o[4] == 0 {
			t.Fatalf("five in a row at %d", start)
		}
	}
}

// TestRoundRobinWithOneDown is two endpoints of which one fails and is passed over: it
// must not get the first try of every request.
func TestRoundRobinWithOneDown(t *testing.T) {
	t.Parallel()
	all := endpoints(1, 1)
	b := choosing(RoundRobin, all)
	first := [2]int{}
	for range 100 {
		var tried triedSet
		e := b.pick(hint{}, tried)
		first[placeOf(e)]++
		if placeOf(e) == 0 {
			tried.add(e)
			if again := b.pick(hint{}, tried); placeOf(again) != 1 {
				t.Fatal("the endpoint that failed was chosen again")
			}
		}
	}
	if first != [2]int{50, 50} {
		t.Errorf("first tries: %v", first)
	}
}

func TestTriedAreAvoided(t *testing.T) {
	t.Parallel()
	for _, balance := range []Balance{RoundRobin, LeastRequest, Random} {
		for _, count := range []int{2, 3, 10, 70} {
			weights := make([]int, count)
			for i := range weights {
				weights[i] = 1 + i%3
			}
			all := endpoints(weights...)
			b := choosing(balance, all)
			var tried triedSet
			seen := map[*Endpoint]bool{}
			for range min(count, maxTries) {
				e := b.pick(hint{}, tried)
				if seen[e] {
					t.Fatalf("%s of %d: endpoint %s was chosen twice", balance, count, e.address)
				}
				seen[e] = true
				tried.add(e)
			}
			if b.pick(hint{}, tried) == nil { // All were tried: any will do.
				t.Errorf("%s of %d: nothing is chosen when all were tried", balance, count)
			}
		}
	}
}

// TestSharesOfTheOthers draws where the heaviest endpoint was tried: the others share what it had, as their
// weights say.
func TestSharesOfTheOthers(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]int{{3, 1, 2}, {4, 1, 1, 1, 1}, {9973, 1, 5000, 5001}} {
		for _, balance := range []Balance{RoundRobin, LeastRequest, PeakEWMA, Random} {
			all := endpoints(weights...)
			var tried triedSet
			tried.add(all[0])
			const n = 30_000
			sum := 0
			for _, w := range weights[1:] {
				sum += w
			}
			for i, got := range draw(choosing(balance, all), all, n, tried) {
				want := float64(n*weights[i]) / float64(sum)
				if i == 0 {
					want = 0
				}
				if math.Abs(float64(got)-want) > n/50 {
					t.Errorf("%s %v: without the first one endpoint %d was chosen %d times of %d, want %.0f", balance, weights, i, got, n, want)
				}
			}
		}
	}
}

func TestLeastRequest(t *testing.T) {
	t.Parallel()
	all := endpoints(1, 1)
	all[0].active.Store(10)
	counts := draw(choosing(LeastRequest, all), all, 10_000, triedSet{})
	if counts[0] < 2200 || counts[0] > 2800 { // Only if both draws are the busy one.
		t.Errorf("the busy one was chosen %d times of 10000", counts[0])
	}
	// Three requests on weight 3 are no more than one on weight 1.
	all = endpoints(3, 1)
	all[0].active.Store(3)
	all[1].active.Store(1)
	counts = draw(choosing(LeastRequest, all), all, 10_000, triedSet{})
	if counts[0] < 7200 || counts[0] > 7800 {
		t.Errorf("the heavy one was chosen %d times of 10000", counts[0])
	}
}

func TestBalanceNames(t *testing.T) {
	t.Parallel()
	if RoundRobin.String() != "round_robin" || LeastRequest.String() != "least_request" || Random.String() != "random" {
		t.Error("the names are those of the configuration")
	}
}

func BenchmarkPick(b *testing.B) {
	for _, balance := range []Balance{RoundRobin, LeastRequest, Random} {
		b.Run(balance.String(), func(b *testing.B) {
			balancer := choosing(balance, endpoints(1, 2, 3, 4))
			b.ReportAllocs()
			for b.Loop() {
				balancer.pick(hint{}, triedSet{})
			}
		})
	}
}
