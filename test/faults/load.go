package faults

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Load sends requests at a steady rate, whatever comes back: each is due at a time
// fixed beforehand, and its latency counts from then. So a gateway that is slow is
// not spared by clients that wait.
type Load struct {
	client *http.Client
	url    string
}

// Seen is what clients saw.
type Seen struct {
	Requests  int
	Failed    int             // no answer, a cut one, or a status from 500
	Answers   map[string]int  // "200", "503 upstream_overloaded", or "none"
	Latencies []time.Duration // of those that did not fail, in order
	Late      []time.Duration // how long after its time each was sent, in order: what the machine has lost
	Took      time.Duration   // from the first one's time to the last answer
}

// NewLoad returns a load for an address; patience is how long a client waits for an answer.
func NewLoad(address string, patience time.Duration) *Load {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: patience}).DialContext,
		MaxIdleConnsPerHost: 4096,
		DisableCompression:  true,
	}
	return &Load{&http.Client{Transport: transport, Timeout: patience}, "http://" + address + "/"}
}

// Run sends rate requests a second until d is over or ctx ends, and waits for the answers.
func (l *Load) Run(ctx context.Context, rate int, d time.Duration) Seen {
	seen := Seen{Answers: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	begun := time.Now()
	gap := time.Second / time.Duration(rate)
	for due := begun; due.Before(begun.Add(d)) && ctx.Err() == nil; due = due.Add(gap) {
		time.Sleep(time.Until(due))
		wg.Go(func() {
			late := time.Since(due)
			status, code := l.ask()
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			seen.add(status, code, took)
			seen.Late = append(seen.Late, late)
		})
	}
	wg.Wait()
	seen.Took = time.Since(begun)
	slices.Sort(seen.Latencies)
	slices.Sort(seen.Late)
	return seen
}

// Close closes the connections that are idle.
func (l *Load) Close() { l.client.CloseIdleConnections() }

// ask returns the status of an answer that came whole, or 0, and the code of the
// gateway's problem document.
func (l *Load) ask() (status int, code string) {
	res, err := l.client.Get(l.url)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return 0, ""
	}
	var problem struct{ Code string }
	if res.Header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(body, &problem) != nil {
		return 0, ""
	}
	return res.StatusCode, problem.Code
}

func (s *Seen) add(status int, code string, took time.Duration) {
	s.Requests++
	s.Answers[answer(status, code)]++
	if status == 0 || status >= 500 {
		s.Failed++
		return
	}
	s.Latencies = append(s.Latencies, took)
}

func answer(status int, code string) string {
	if status == 0 {
		return "none"
	}
	return strings.TrimSpace(strconv.Itoa(status) + " " + code)
}

// join adds what was seen at another time.
func (s *Seen) join(other Seen) {
	if s.Answers == nil {
		s.Answers = map[string]int{}
	}
	s.Requests += other.Requests
	s.Failed += other.Failed
	s.Took += other.Took
	for answer, n := range other.Answers {
		s.Answers[answer] += n
	}
	s.Latencies = slices.Sorted(slices.Values(append(s.Latencies, other.Latencies...)))
	s.Late = slices.Sorted(slices.Values(append(s.Late, other.Late...)))
}

// Good is how many did not fail.
func (s *Seen) Good() int { return s.Requests - s.Failed }

// FailedShare is the share of requests that failed, from 0 to 1.
func (s *Seen) FailedShare() float64 { return share(s.Failed, s.Requests) }

// Goodput is how many were answered well in each second.
func (s *Seen) Goodput() float64 { return float64(s.Good()) / s.Took.Seconds() }

// Quantile is the latency that a share q of the good answers did not exceed.
func (s *Seen) Quantile(q float64) time.Duration { return quantile(s.Latencies, q) }

// quantile is what a share q of the values, which are sorted, does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// share is part of whole, and 0 of nothing.
func share[N int | int64](part, whole N) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
