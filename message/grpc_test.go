package message

import (
	"slices"
	"testing"
	"time"
)

func TestIsGRPC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, kind string
		want         bool
	}{
		{"POST", "application/grpc", true},
		{"POST", "Application/gRPC+Proto", true},
		{"POST", "application/grpc+json ; charset=utf-8", true},
		{"POST", "application/grpc;a=b", true},
		{"POST", "application/grpc ;a=b", true},
		{"POST", "application/grpc-web", false},
		{"POST", "application/grpc-web+proto", false},
		{"POST", "application/grp", false},
		{"POST", "", false},
		{"GET", "application/grpc", false},
	} {
		req := Request{Method: c.method}
		req.Header.Append("Content-Type", c.kind)
		if got := IsGRPC(&req); got != c.want {
			t.Errorf("%s %q is %v", c.method, c.kind, got)
		}
	}
}

func TestGRPCStatus(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": NoGRPCStatus, "0": 0, "7": 7, "14": 14, "140": NoGRPCStatus, "1x": NoGRPCStatus, "-1": NoGRPCStatus} {
		var h Header
		if text != "" {
			h.Add("grpc-status", text)
		}
		if got := GRPCStatus(&h); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	failed := []int{}
	for status := NoGRPCStatus; status < 20; status++ {
		if GRPCFailed(status) {
			failed = append(failed, status)
		}
	}
	if !slices.Equal(failed, []int{2, 13, 14, 15}) {
		t.Errorf("failures are %v", failed)
	}
}

func TestFormatGRPCTimeout(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0n", 0: "0n", 1: "1n", 99999999: "99999999n", 100000000: "100000u", 50 * time.Millisecond: "50000000n",
		99999999999: "99999999u", 100 * time.Second: "100000m", 30 * time.Hour: "108000S", 30000 * time.Hour: "1800000M",
		1<<63 - 1: "2562047H",
	} {
		got := FormatGRPCTimeout(d)
		if back, ok := ParseGRPCTimeout(got); got != want || !ok || back > max(d, 0) || len(got) > 9 {
			t.Errorf("%v is %q, not %q, and back %v", d, got, want, back)
		}
	}
}

func TestParseGRPCTimeout(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond,
		"99999999n": 99999999, "0S": 0, "99999999H": 1<<63 - 1,
		"": -1, "1": -1, "S": -1, "1s": -1, "-1S": -1, "999999999S": -1, "1 S": -1,
	} {
		got, ok := ParseGRPCTimeout(text)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
}
