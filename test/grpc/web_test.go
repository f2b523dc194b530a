package grpc

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-gateway/sluice/test/rig"
)

// page is a client of gRPC-Web, as a browser's libraries are one: binary or text, over one
// version of HTTP.
type page struct {
	http *http.Client
	url  string
	text bool
}

// pages are a client for each way in and each form.
func (g *gateway) pages(t *testing.T) map[string]*page {
	t.Helper()
	one := &http.Transport{}
	two := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} // The certificate is self-signed.
	t.Cleanup(one.CloseIdleConnections)
	t.Cleanup(two.CloseIdleConnections)
	all := map[string]*page{}
	for _, text := range []bool{false, true} {
		all[fmt.Sprintf("http/1.1 text=%v", text)] = &page{&http.Client{Transport: one}, "http://" + g.plain, text}
		all[fmt.Sprintf("h2 text=%v", text)] = &page{&http.Client{Transport: two}, "https://" + g.secure, text}
	}
	return all
}

// reply is an answer of gRPC-Web, read frame by frame.
type reply struct {
	header  http.Header
	body    io.ReadCloser
	frames  io.Reader
	trailer map[string]string // once the last frame was read
}

// frame is a message with its head, in the client's form.
func (p *page) frame(message proto.Message) ([]byte, error) {
	data, err := proto.Marshal(message)
	if err != nil {
		return nil, err
	}
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
	if p.text {
		framed = base64.StdEncoding.AppendEncode(nil, framed)
	}
	return framed, nil
}

// call asks a method of the test service on a host.
func (p *page) call(ctx context.Context, host, method string, body []byte, fields ...string) (*reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/grpc.testing.TestService/"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	kind := "application/grpc-web+proto"
	if p.text {
		kind = "application/grpc-web-text+proto"
	}
	request.Host = host
	request.Header.Set("Content-Type", kind)
	request.Header.Set("X-Grpc-Web", "1")
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	answer, err := p.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != kind || answer.Header.Get("grpc-status") != "" {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("answered with %s %v", answer.Status, answer.Header)
	}
	r := &reply{header: answer.Header, body: answer.Body, frames: answer.Body}
	if p.text {
		r.frames = &pieces{from: bufio.NewReader(answer.Body)}
	}
	return r, nil
}

// pieces decodes base64 group by group: padding may stand in any of them.
type pieces struct {
	from *bufio.Reader
	rest []byte
}

func (p *pieces) Read(into []byte) (int, error) {
	if len(p.rest) == 0 {
		var group [4]byte
		if _, err := io.ReadFull(p.from, group[:]); err != nil {
			return 0, err
		}
		decoded, err := base64.StdEncoding.DecodeString(string(group[:]))
		if err != nil {
			return 0, err
		}
		p.rest = decoded
	}
	n := copy(into, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// next reads a message; at the end of the call it is io.EOF, and the trailer is there.
func (r *reply) next(into proto.Message) error {
	var head [5]byte
	if _, err := io.ReadFull(r.frames, head[:]); err != nil {
		return errors.Join(errors.New("no trailer came"), err)
	}
	data := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(r.frames, data); err != nil {
		return errors.Join(errors.New("a frame is cut"), err)
	}
	switch head[0] {
	case 0:
		return proto.Unmarshal(data, into)
	case 0x80:
	default:
		return fmt.Errorf("a frame has the flag %#x", head[0])
	}
	r.trailer = map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		r.trailer[name] = value
	}
	if rest, err := io.ReadAll(r.frames); len(rest) > 0 || err != nil {
		return fmt.Errorf("%q stands behind the trailer: %w", rest, err)
	}
	_ = r.body.Close()
	return io.EOF
}

// TestWebCalls sends gRPC-Web through the policy to grpc-go's server, which knows nothing of it.
func TestWebCalls(t *testing.T) {
	t.Parallel()
	g := start(t)
	for name, p := range g.pages(t) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*rig.Patience)
			defer cancel()
			unary(ctx, t, p)
			streamed(ctx, t, p)
			failing(ctx, t, p)
		})
	}
}

// unary asks for a long message with a long one, and for metadata in head and trailer.
func unary(ctx context.Context, t *testing.T, p *page) {
	t.Helper()
	asked, err := p.frame(&pb.SimpleRequest{ResponseSize: 123_457, Payload: &pb.Payload{Body: make([]byte, 271_828)}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.call(ctx, "web.example.com", "UnaryCall", asked, "x-grpc-test-echo-initial", "first", "x-grpc-test-echo-trailing-bin", "cQ")
	if err != nil {
		t.Fatal(err)
	}
	var answer pb.SimpleResponse
	if err := r.next(&answer); err != nil || len(answer.GetPayload().GetBody()) != 123_457 {
		t.Fatalf("%d bytes: %v", len(answer.GetPayload().GetBody()), err)
	}
	if err := r.next(&answer); err != io.EOF || r.trailer["grpc-status"] != "0" {
		t.Fatalf("%v, %v", err, r.trailer)
	}
	if r.header.Get("x-grpc-test-echo-initial") != "first" || strings.TrimRight(r.trailer["x-grpc-test-echo-trailing-bin"], "=") != "cQ" {
		t.Errorf("metadata: %v, %v", r.header, r.trailer)
	}
}

// streamed reads messages as they come: the last one of them before the call has ended,
// because it never does.
func streamed(ctx context.Context, t *testing.T, p *page) {
	t.Helper()
	sizes := []*pb.ResponseParameters{{Size: 3}, {Size: 70_000}, {Size: 0}, {Size: 1}}
	asked, err := p.frame(&pb.StreamingOutputCallRequest{ResponseParameters: sizes})
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.call(ctx, "web.example.com", "StreamingOutputCall", asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		var answer pb.StreamingOutputCallResponse
		if err := r.next(&answer); err != nil || len(answer.GetPayload().GetBody()) != int(size.GetSize()) {
			t.Fatalf("%d bytes in place of %d: %v", len(answer.GetPayload().GetBody()), size.GetSize(), err)
		}
	}
	if err := r.next(nil); err != io.EOF || r.trailer["grpc-status"] != "0" {
		t.Fatalf("%v, %v", err, r.trailer)
	}

	asked, err = p.frame(&pb.StreamingOutputCallRequest{ResponseType: untilCancelled})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if r, err = p.call(ctx, "web.example.com", "StreamingOutputCall", asked, "grpc-timeout", "1H"); err != nil {
		t.Fatal(err)
	}
	if err := r.next(&pb.StreamingOutputCallResponse{}); err != nil {
		t.Fatal(err)
	}
	if r.header.Get("x-left") == "" {
		t.Error("the origin does not know of the deadline")
	}
	_ = r.body.Close()
}

// failing reads how calls end that the origin or the gateway refuses.
func failing(ctx context.Context, t *testing.T, p *page) {
	t.Helper()
	refused, err := p.frame(&pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: 2, Message: "100 % not äöü"}})
	if err != nil {
		t.Fatal(err)
	}
	broken := []byte("AAAA*")
	if !p.text {
		broken = []byte("\x80\x00\x00\x00\x00")
	}
	for _, c := range []struct {
		host, method string
		body         []byte
		status       string
		reason       string // of the gateway's own
	}{
		{"web.example.com", "UnaryCall", refused, "2", ""},
		{"web.example.com", "NoSuchCall", refused, "12", ""},
		{"web.example.com", "UnaryCall", broken, "13", "grpc_web_malformed"},
		{"weblocked.example.com", "UnaryCall", refused, "7", "address_refused"},
		{"webgone.example.com", "UnaryCall", refused, "14", "upstream_connect_failed"},
		{"nobody.example.com", "UnaryCall", refused, "12", "route_not_found"},
	} {
		r, err := p.call(ctx, c.host, c.method, c.body)
		if err != nil {
			t.Errorf("%s %s: %v", c.host, c.method, err)
			continue
		}
		if err := r.next(&pb.SimpleResponse{}); err != io.EOF || r.trailer["grpc-status"] != c.status || r.trailer["grpc-message"] == "" {
			t.Errorf("%s %s: %v, %v", c.host, c.method, err, r.trailer)
			continue
		}
		if c.reason != "" {
			if reason := reasonOf(r.trailer["grpc-status-details-bin"]); reason != c.reason {
				t.Errorf("%s %s: refused with %q", c.host, c.method, reason)
			}
		}
	}
}

// reasonOf is the problem's code in the details of a refusal, or what is wrong with them.
func reasonOf(details string) string {
	data, err := base64.RawStdEncoding.DecodeString(details)
	var s spb.Status
	if err == nil {
		err = proto.Unmarshal(data, &s)
	}
	if err != nil || len(s.GetDetails()) != 1 {
		return fmt.Sprint(err, details)
	}
	var info errdetails.ErrorInfo
	if err := s.GetDetails()[0].UnmarshalTo(&info); err != nil {
		return err.Error()
	}
	return info.GetReason()
}
