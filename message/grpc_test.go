package message

import "testing"

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
