package upstream

import (
	"fmt"
	"testing"

	"github.com/sluice-gateway/sluice/upstream/outlier"
	"github.com/sluice-gateway/sluice/upstream/sticky"
)

// many is a configuration with n endpoints, of a few weights.
func many(n int, method string) Config {
	c := Config{Name: "many"}
	for i := range n {
		c.Endpoints = append(c.Endpoints, EndpointConfig{Address: fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255), Weight: 1 + i%3})
	}
	switch method {
	case "least_request":
		c.Balance = LeastRequest
	case "maglev":
		c.Balance, c.Hash = ConsistentHash, Hash{Key: "{client.address}"}
	case "ring":
		c.Balance, c.Hash = ConsistentHash, Hash{Key: "{client.address}", Ring: true}
	case "sticky":
		c.Balance, c.Sticky = LeastRequest, &Sticky{Keys: []sticky.Key{{}}}
	case "ejection":
		c.Balance, c.Ejection = LeastRequest, &outlier.Config{Consecutive: 5}
	}
	return c
}

var manyMethods = []string{"round_robin", "least_request", "maglev", "ring", "sticky", "ejection"}

// BenchmarkMark is an endpoint of ten thousand that falls ill, and gets well: what follows of that is
// done at intervals.
func BenchmarkMark(b *testing.B) {
	for _, method := range manyMethods {
		b.Run(method, func(b *testing.B) {
			u := New(many(10_000, method), &counts{}, nil)
			i := 0
			for b.Loop() {
				u.Mark(u.Endpoints()[i/2%10_000], Ejected, i%2 == 0)
				i++
			}
		})
	}
}

// BenchmarkRenew makes the selection anew when an endpoint of ten thousand has fallen ill.
func BenchmarkRenew(b *testing.B) {
	for _, method := range manyMethods {
		b.Run(method, func(b *testing.B) {
			u := New(many(10_000, method), &counts{}, nil)
			i := 0
			for b.Loop() {
				u.Endpoints()[i/2%10_000].ill.Store(uint32(1 - i%2))
				u.renew()
				i++
			}
		})
	}
}

// BenchmarkSetEndpoints is one endpoint that leaves ten thousand, and comes again.
func BenchmarkSetEndpoints(b *testing.B) {
	for _, method := range manyMethods {
		b.Run(method, func(b *testing.B) {
			c := many(10_000, method)
			u := New(c, &counts{}, nil)
			i := 0
			for b.Loop() {
				u.SetEndpoints(c.Endpoints[i%2:])
				i++
			}
		})
	}
}

// BenchmarkReplaceEndpoints changes ten thousand endpoints into ten thousand others.
func BenchmarkReplaceEndpoints(b *testing.B) {
	for _, method := range manyMethods {
		b.Run(method, func(b *testing.B) {
			c := many(20_000, method)
			lists := [][]EndpointConfig{c.Endpoints[:10_000], c.Endpoints[10_000:]}
			c.Endpoints = lists[0]
			u := New(c, &counts{}, nil)
			i := 0
			for b.Loop() {
				i++
				u.SetEndpoints(lists[i%2])
			}
		})
	}
}
