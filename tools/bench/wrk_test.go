//go:build linux

package main

import (
	"testing"
	"time"
)

const wrkGood = `Running 4s test @ http://127.0.0.1:20001/orders/17
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.27ms  505.17us  11.52ms   89.70%
    Req/Sec    50.54k     3.03k   54.44k    87.50%
  Latency Distribution
     50%  831.00us
     75%    1.43ms
     90%    1.73ms
     99%    3.05ms
  201145 requests in 4.00s, 40.09MB read
Requests/sec:  50256.71
Transfer/sec:     10.02MB
`

const wrkBad = `Running 1m test @ http://127.0.0.1:20001/10m
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.27s   505.17us  11.52ms   89.70%
    Req/Sec    50.54k     3.03k   54.44k    87.50%
  Latency Distribution
     50%    1.20s 
     75%    1.43s 
     90%    1.73s 
     99%    1.10m 
  3 requests in 1.00m, 1.50GB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 7
Requests/sec:      0.05
Transfer/sec:     25.00MB
`

func TestParseWrk(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       loadResult
	}{
		{"good", wrkGood, loadResult{requests: 201145, bytes: 42037411, took: 4 * time.Second, p50: 831 * time.Microsecond, p99: 3050 * time.Microsecond}},
		{"errors", wrkBad, loadResult{requests: 3, errors: 17, bytes: 3 << 29, took: time.Minute, p50: 1200 * time.Millisecond, p99: 66 * time.Second}},
	} {
		got, err := parseWrk(test.text)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
	if got, err := parseWrk("unable to connect to 127.0.0.1:1 Connection refused\n"); err == nil {
		t.Errorf("no summary: %+v", got)
	}
}

func TestParseWrkBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"512.00B": 512, "0.00B": 0, "1.50KB": 1536, "2MB": 2 << 20, "1.00GB": 1 << 30, "1TB": 1 << 40} {
		if got, err := parseWrkBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	if got, err := parseWrkBytes("manyB"); err == nil {
		t.Errorf("many: %d", got)
	}
}
