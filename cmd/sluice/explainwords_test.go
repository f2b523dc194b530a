package main

import (
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/unit"
)

func TestHedgeInWords(t *testing.T) {
	t.Parallel()
	r := &traffic.Retry{Hedge: &traffic.Hedge{After: unit.Duration(80 * time.Millisecond), Max: 2, Methods: unit.List[string]{"GET", "HEAD"}}}
	if got, want := retryWords(r), "never sends a request again; asks 2 more endpoints at the same time if a GET or HEAD is not answered within 80ms"; got != want {
		t.Errorf("%q", got)
	}
}

func TestPlacesInWords(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]traffic.Concurrency{
		"lets 50 requests wait for an answer of each endpoint at one time; others are refused":             {PerEndpoint: 50},
		"lets 70 requests wait for an answer at one time, 50 of them at each endpoint; others are refused": {Limit: 70, PerEndpoint: 50},
		"lets 70 requests wait for an answer at one time; others are refused":                              {Limit: 70},
	} {
		if got := concurrencyWords(&c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
