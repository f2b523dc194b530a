package message

import (
	"slices"
	"testing"
)

func TestKeepTrailers(t *testing.T) {
	t.Parallel()
	var h Header
	for _, name := range []string{
		"X-Sum", "Authorization", "grpc-status", "Content-Length", "content-md5", "Transfer-Encoding", "Host", "TE", "X-Forwarded-For",
		"x_forwarded_proto", "X-Consumer-Name", "X_Consumer_Groups", "Set-Cookie", "Server-Timing", "Date", "X-Request-Id", "Max-Forwards",
	} {
		h.Append(name, "v")
	}
	KeepTrailers(&h)
	var kept []string
	for _, f := range h.Fields() {
		kept = append(kept, f.Name)
	}
	if want := []string{"X-Sum", "grpc-status", "Server-Timing"}; !slices.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
}

func TestKeepTrailersAllocatesNothingForLowerCase(t *testing.T) {
	var h Header
	h.Append("grpc-status", "0")
	h.Append("x-sum", "42")
	if n := testing.AllocsPerRun(100, func() { KeepTrailers(&h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
