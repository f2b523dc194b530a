//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

const h2loadGood = `starting benchmark...
spawning thread #0: 16 total client(s). Timing-based test with 0s of warm-up time and 4s of main duration for measurements.
Warm-up phase is over for thread #0.
Main benchmark duration is started for thread #0.
progress: 100% of clients started
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Server Temp Key: X25519 253 bits
Application protocol: h2
Main benchmark duration is over for thread #0. Stopping all clients.
Stopped all clients for thread #0

finished in 4.00s, 26541.50 req/s, 3.32MB/s
requests: 106166 total, 106422 started, 106166 done, 106166 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 106166 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 13.28MB (13923450) total, 2.20MB (2305100) headers (space savings 89.10%), 7.09MB (7431620) data
                     min         max         mean         sd        +/- sd
time for request:      152us     61.47ms      9.54ms      9.50ms    87.20%
time for connect:        0us         0us         0us         0us     0.00%
time to 1st byte:        0us         0us         0us         0us     0.00%
req/s           :     849.35     1253.30     1051.23      109.89    68.75%
`

const h2loadBad = `Application protocol: h2
Process Request Failure:2

finished in 900.00ms, 1946.00 req/s, 129.88KB/s
requests: 4051 total, 3892 started, 4051 done, 3800 succeeded, 251 failed, 159 errored, 0 timeout
status codes: 3800 2xx, 0 3xx, 92 4xx, 0 5xx
traffic: 259.76KB (265994) total, 749.25KB (767232) headers (space savings 51.02%), 31.22KB (31968) data
                     min         max         mean         sd        +/- sd
time for request:      152us       1.47s       873us      9.50ms    87.20%
`

func TestParseH2load(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       loadResult
	}{
		{"good", h2loadGood, loadResult{requests: 106166, bytes: 13923450, took: 4 * time.Second, mean: 9540 * time.Microsecond, longest: 61470 * time.Microsecond}},
		{"errors", h2loadBad, loadResult{requests: 3892, errors: 251, bytes: 265994, took: 900 * time.Millisecond, mean: 873 * time.Microsecond, longest: 1470 * time.Millisecond}},
	} {
		got, err := parseH2load(test.text)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, got, err, test.want)
		}
	}
	for _, test := range []struct{ name, text, want string }{
		{"no connection", strings.Replace(h2loadGood, "Application protocol: h2\n", "", 1), "no protocol"},
		{"HTTP/1.1", strings.Replace(h2loadGood, "protocol: h2\n", "protocol: http/1.1\n", 1), "http/1.1, not h2"},
		{"no requests", strings.Replace(h2loadGood, "requests: ", "", 1), "no summary"},
		{"no times", strings.Replace(h2loadGood, "time for request", "time", 1), "no summary"},
		{"a number out of range", strings.Replace(h2loadGood, "(13923450)", "(99999999999999999999)", 1), "out of range"},
		{"a unit that is none", strings.Replace(h2loadGood, "in 4.00s", "in 4.00x", 1), "unknown unit"},
	} {
		if got, err := parseH2load(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}
