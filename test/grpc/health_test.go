package grpc

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-gateway/sluice/internal/grpchealth"
)

// TestHealth asks grpc-go's health server with our messages.
func TestHealth(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said := health.NewServer()
	said.SetServingStatus("up", healthpb.HealthCheckResponse_SERVING)
	said.SetServingStatus("down", healthpb.HealthCheckResponse_NOT_SERVING)
	said.SetServingStatus("odd", healthpb.HealthCheckResponse_UNKNOWN)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, said)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &only}
	t.Cleanup(transport.CloseIdleConnections)
	for service, want := range map[string]grpchealth.Status{
		"": grpchealth.Serving, "up": grpchealth.Serving, "down": grpchealth.NotServing,
		"odd": grpchealth.Unknown, "nobody": grpchealth.ServiceUnknown,
	} {
		body := grpchealth.AppendRequest(nil, service)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String()+grpchealth.Path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", grpchealth.ContentType)
		request.Header.Set("TE", "trailers")
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		end := answer.Trailer
		if end.Get("grpc-status") == "" {
			end = answer.Header
		}
		got, err := grpchealth.Read(end.Get("grpc-status"), end.Get("grpc-message"), data)
		if got != want || err != nil {
			t.Errorf("%q is %v: %v", service, got, err)
		}
	}
}

// FuzzHealth compares our reading of an answer with that of the generated code.
func FuzzHealth(f *testing.F) {
	f.Add([]byte("\x08\x01"))
	f.Add([]byte("\x12\x03abc\x08\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 200 {
			return
		}
		got, err := grpchealth.Read("0", "", append([]byte{0, 0, 0, 0, byte(len(data))}, data...))
		var answer healthpb.HealthCheckResponse
		wrong := proto.Unmarshal(data, &answer)
		want := grpchealth.Unknown
		if s := answer.GetStatus(); s >= 0 && s <= 3 {
			want = grpchealth.Status(s)
		}
		if wrong == nil && err == nil && got != want {
			t.Errorf("%q is %v, not %v", data, got, want)
		}
		if wrong != nil && err == nil {
			t.Errorf("%q is taken for %v: %v", data, got, wrong)
		}
	})
}
