package message

import (
	"slices"
	"testing"
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
