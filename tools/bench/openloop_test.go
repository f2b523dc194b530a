//go:build linux

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, in string
		want     answer
		wrong    string
	}{
		{name: "nothing yet", in: ""},
		{name: "half a head", in: "HTTP/1.1 200 OK\r\nContent-Le"},
		{name: "half a body", in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", want: answer{status: 200}},
		{name: "whole", in: "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", want: answer{complete: true, status: 200}},
		{name: "last", in: "HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", want: answer{complete: true, status: 503, last: true}},
		{name: "no length", in: "HTTP/1.1 200 OK\r\n\r\n", wrong: "without content-length"},
		{name: "bad length", in: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", wrong: "content-length"},
		{name: "too much", in: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", wrong: "more than"},
		{name: "no HTTP", in: "hello\r\n\r\n", wrong: "status line"},
		{name: "no status", in: "HTTP/1.1 abc\r\n\r\n", wrong: "status line"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseAnswer([]byte(test.in))
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Fatalf("error %v, want %q", err, test.wrong)
				}
				return
			}
			if err != nil || got != test.want {
				t.Fatalf("%+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// loopAgainst runs 100 requests against a handler.
func loopAgainst(t *testing.T, handler http.HandlerFunc) openResult {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	o := openLoop{
		address: server.Listener.Addr().String(), connections: 4, rate: 1000, duration: 100 * time.Millisecond,
		calls: [][]byte{[]byte(routeCall(1)), []byte(routeCall(2))},
	}
	result, err := o.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestOpenLoopCountsAll(t *testing.T) {
	t.Parallel()
	var first, second atomic.Int64
	result := loopAgainst(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/r000001/items/7":
			first.Add(1)
		case "/r000002/items/7":
			second.Add(1)
		}
		io.WriteString(w, payload) //nolint:errcheck // The client counts.
	})
	if len(result.latencies) != 100 || result.errors != 0 || first.Load() != 50 || second.Load() != 50 {
		t.Fatalf("%d answers, %d errors (%v), %d and %d calls", len(result.latencies), result.errors, result.firstErr, first.Load(), second.Load())
	}
}

func TestOpenLoopCountsErrors(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	result := loopAgainst(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusBadGateway)
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			w.Header().Set("Connection", "close")
		}
	})
	if len(result.latencies) != 50 || result.errors != 50 || result.firstErr == nil {
		t.Fatalf("%d answers, %d errors (%v)", len(result.latencies), result.errors, result.firstErr)
	}
}

// A server that stands still for a while is seen by all requests that were due
// meanwhile, not by one a connection.
func TestOpenLoopCountsFromWhenDue(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if calls.Add(1) == 1 {
			time.Sleep(80 * time.Millisecond)
		}
	}))
	defer server.Close()
	o := openLoop{
		address: server.Listener.Addr().String(), connections: 1, rate: 1000, duration: 50 * time.Millisecond,
		calls: [][]byte{[]byte(routeCall(0))},
	}
	result, err := o.run(t.Context())
	if err != nil || len(result.latencies) != 50 {
		t.Fatalf("%d answers, %v", len(result.latencies), err)
	}
	// The last was due after 49 ms, and none can have been answered before 80 ms.
	if fastest := result.latencies[0]; fastest < 31*time.Millisecond {
		t.Errorf("the fastest answer took %v from when it was due", fastest)
	}
}
