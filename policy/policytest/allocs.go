package policytest

import (
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// Allocs fails the test if OnRequest of the policies allocates more often than
// onRequest times an exchange, or OnResponse and OnDone more often than onResponse
// times. Fill makes the request, with Gateway.Fill. Under the race detector nothing is
// compared, because its pools drop things at random. The test must not be parallel.
func Allocs(t *testing.T, g *Gateway, onRequest, onResponse float64, fill func(x *message.Exchange)) {
	t.Helper()
	x := &message.Exchange{}
	verdicts := 0
	request := func() {
		fill(x)
		for i := range g.links {
			if h := g.links[i].hooks.OnRequest; h != nil && h(x) != message.Next {
				verdicts++
				break
			}
		}
	}
	whole := func() {
		request()
		x.Response.Status = 200
		x.Response.Header.Append("Content-Type", "text/plain")
		for i := len(g.links) - 1; i >= 0; i-- {
			if h := g.links[i].hooks.OnResponse; h != nil {
				h(x)
			}
		}
		for i := len(g.links) - 1; i >= 0; i-- {
			if h := g.links[i].hooks.OnDone; h != nil {
				h(x)
			}
		}
	}
	// Twice, so that pools and lists have their room.
	whole()
	whole()
	measuredRequest := testing.AllocsPerRun(200, request)
	measuredWhole := testing.AllocsPerRun(200, whole)
	if raceEnabled {
		return
	}
	if measuredRequest > onRequest {
		t.Errorf("OnRequest allocates %v times an exchange, %v are allowed", measuredRequest, onRequest)
	}
	if measuredWhole-measuredRequest > onResponse {
		t.Errorf("OnResponse and OnDone allocate %v times an exchange, %v are allowed", measuredWhole-measuredRequest, onResponse)
	}
}
