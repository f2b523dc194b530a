package route

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// shapeOfRoutes is a way to spread n routes over hosts and paths: rule i, and a
// request that it wins.
type shapeOfRoutes struct {
	name string
	rule func(i int) (host, path string)
	hit  func(i int) (host, path string)
}

var shapesOfRoutes = []shapeOfRoutes{
	{"exact",
		func(i int) (string, string) { return "api.example.com", fmt.Sprintf("/v1/service-%d/status", i) },
		func(i int) (string, string) { return "api.example.com", fmt.Sprintf("/v1/service-%d/status", i) }},
	{"params",
		func(i int) (string, string) {
			return "api.example.com", fmt.Sprintf("/v1/service-%d/users/{id}/orders/{order}", i)
		},
		func(i int) (string, string) {
			return "api.example.com", fmt.Sprintf("/v1/service-%d/users/7f3a/orders/12", i)
		}},
	{"prefixes",
		func(i int) (string, string) { return "api.example.com", fmt.Sprintf("/v1/service-%d/**", i) },
		func(i int) (string, string) { return "api.example.com", fmt.Sprintf("/v1/service-%d/users/7f3a", i) }},
	{"hosts",
		func(i int) (string, string) { return fmt.Sprintf("tenant-%d.example.com", i), "/**" },
		func(i int) (string, string) { return fmt.Sprintf("tenant-%d.example.com", i), "/v1/users/7f3a" }},
	{"mixed",
		func(i int) (string, string) {
			host := fmt.Sprintf("tenant-%d.example.com", i/40)
			switch i % 4 {
			case 0:
				return host, fmt.Sprintf("/v1/service-%d", i)
			case 1:
				return host, fmt.Sprintf("/v1/service-%d/users/{id}", i)
			case 2:
				return host, fmt.Sprintf("/v1/service-%d/users/{id}/orders", i)
			}
			return host, fmt.Sprintf("/v1/service-%d/**", i)
		},
		func(i int) (string, string) {
			host := fmt.Sprintf("tenant-%d.example.com", i/40)
			switch i % 4 {
			case 0:
				return host, fmt.Sprintf("/v1/service-%d", i)
			case 1:
				return host, fmt.Sprintf("/v1/service-%d/users/7f3a", i)
			case 2:
				return host, fmt.Sprintf("/v1/service-%d/users/7f3a/orders", i)
			}
			return host, fmt.Sprintf("/v1/service-%d/static/app.js", i)
		}},
}

func (s shapeOfRoutes) rules(n int) []Rule {
	rules := make([]Rule, n)
	for i := range rules {
		host, path := s.rule(i)
		p, err := ParsePattern(path)
		if err != nil {
			panic(err)
		}
		rules[i] = Rule{Name: "r", Hosts: []string{host}, Paths: []Pattern{p}, Methods: []string{"GET"}}
	}
	return rules
}

// requests returns 4096 requests for random routes, in random order.
func (s shapeOfRoutes) requests(n int) []message.Request {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([]message.Request, 4096)
	for i := range list {
		list[i].Method = "GET"
		list[i].Authority, list[i].Path = s.hit(random.IntN(n))
	}
	return list
}

func BenchmarkMatch(b *testing.B) {
	for _, s := range shapesOfRoutes {
		for _, n := range []int{10, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				table, _, err := Build(s.rules(n), nil)
				if err != nil {
					b.Fatal(err)
				}
				requests := s.requests(n)
				var params message.Params
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, ok := table.Match(&requests[i&4095], "web", &params); !ok {
						b.Fatal(requests[i&4095].Path)
					}
					i++
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, s := range shapesOfRoutes {
		b.Run(s.name, func(b *testing.B) {
			rules := s.rules(100_000)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Build(rules, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	for _, path := range []string{"/v1/users/7f3a/order", "/v1/users/a%20b/order", "/v1/./users/%7Efoo"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Normalize(path, NormalizeOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
