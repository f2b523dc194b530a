package engine

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/observe"
	"github.com/sluice-gateway/sluice/policy"
)

// fields reads a message of protocol buffers: varints as numbers, all else as bytes.
func fields(t testing.TB, data string, each func(number int, value string, varint uint64)) {
	t.Helper()
	for data != "" {
		key := data[0]
		value, n := binary.Uvarint([]byte(data[1:]))
		if n <= 0 {
			t.Fatalf("%q ends early", data)
		}
		data = data[1+n:]
		switch key & 7 {
		case 0:
			each(int(key>>3), "", value)
		case 2:
			if uint64(len(data)) < value {
				t.Fatalf("%q is shorter than %d", data, value)
			}
			each(int(key>>3), data[:value], 0)
			data = data[value:]
		default:
			t.Fatalf("wire type %d", key&7)
		}
	}
}

// grpcStatus is what a google.rpc.Status with an ErrorInfo says.
type grpcStatus struct {
	code           int
	text, kind     string
	reason, domain string
	metadata       map[string]string
}

func statusOf(t testing.TB, h *message.Header) (r grpcStatus) {
	t.Helper()
	data, err := base64.RawStdEncoding.DecodeString(h.Get("grpc-status-details-bin"))
	if err != nil {
		t.Fatal(err)
	}
	r.metadata = map[string]string{}
	var detail, info string
	fields(t, string(data), func(number int, value string, varint uint64) {
		switch number {
		case 1:
			r.code = int(varint)
		case 2:
			r.text = value
		case 3:
			detail = value
		}
	})
	fields(t, detail, func(number int, value string, _ uint64) {
		if number == 1 {
			r.kind = value
		} else {
			info = value
		}
	})
	fields(t, info, func(number int, value string, _ uint64) {
		switch number {
		case 1:
			r.reason = value
		case 2:
			r.domain = value
		case 3:
			var entry [3]string
			fields(t, value, func(number int, value string, _ uint64) { entry[number] = value })
			r.metadata[entry[1]] = entry[2]
		}
	})
	return r
}

// TestGRPCRefusals reads the refusal of every problem that there is.
func TestGRPCRefusals(t *testing.T) {
	t.Parallel()
	for _, p := range message.Problems() {
		for _, detail := range []string{"", "100 % \"grüße\"\r\n\x01", strings.Repeat("ü", 2000)} {
			x := &message.Exchange{}
			x.Facts.RequestID = "7f3a"
			p := p.WithDetail(detail)
			answerGRPC(x, call{grpcweb.GRPC, "application/grpc+proto"}, p)
			h := &x.Response.Header
			if x.Response.Status != 200 || x.Response.Body != nil || h.Get("Content-Type") != "application/grpc+proto" || observe.Status(x) != p.Status {
				t.Errorf("%s: %+v", p.Code, x.Response)
			}
			if p.Code == message.DeadlineExceeded.Code {
				// As clients tell it themselves.
				if h.Get("grpc-status") != "4" || h.Get("grpc-message") == "" || h.Has("grpc-status-details-bin") {
					t.Errorf("%s: %v", p.Code, h.Fields())
				}
				continue
			}
			r := statusOf(t, h)
			if h.Get("grpc-status") != strconv.Itoa(r.code) || r.code != grpcCode(p.Status) || r.code == 0 || r.code == grpcUnknown {
				t.Errorf("%s: grpc-status %q, %d in the details", p.Code, h.Get("grpc-status"), r.code)
			}
			text, err := url.PathUnescape(h.Get("grpc-message"))
			if err != nil || text != r.text || !strings.HasPrefix(text, p.Title) || len(text) > maxGRPCText {
				t.Errorf("%s: grpc-message %q, %q in the details, %v", p.Code, text, r.text, err)
			}
			if len(detail) < 100 && !strings.HasSuffix(text, detail) {
				t.Errorf("%s: grpc-message %q lacks %q", p.Code, text, detail)
			}
			want := map[string]string{"source": p.Source.String(), "retry": p.Retry.String(), "request_id": "7f3a"}
			if r.kind != "type.googleapis.com/google.rpc.ErrorInfo" || r.reason != p.Code || r.domain != GRPCDomain || !maps.Equal(r.metadata, want) {
				t.Errorf("%s: %+v", p.Code, r)
			}
		}
	}
}

func TestGRPCCodes(t *testing.T) {
	t.Parallel()
	for status, code := range map[int]int{
		400: 13, 401: 16, 403: 7, 404: 12, 405: 12, 408: 14, 413: 8, 429: 8, 431: 13, 499: 1,
		500: 13, 501: 12, 502: 14, 503: 14, 504: 4, 418: 2,
	} {
		if got := grpcCode(status); got != code {
			t.Errorf("%d is told as %d, not %d", status, got, code)
		}
	}
}

func TestGRPCCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protocol, contentType string
		want                  call
	}{
		{"HTTP/2", "application/grpc", call{grpcweb.GRPC, "application/grpc"}},
		{"HTTP/2", "Application/gRPC+Proto", call{grpcweb.GRPC, "Application/gRPC+Proto"}},
		{"HTTP/3", "application/grpc+json ; charset=utf-8", call{grpcweb.GRPC, "application/grpc+json"}},
		{"HTTP/1.1", "application/grpc", call{}},
		{"HTTP/2", "application/grpc-web", call{grpcweb.Web, "application/grpc-web"}},
		{"HTTP/1.1", "application/grpc-web+proto;a=b", call{grpcweb.Web, "application/grpc-web+proto"}},
		{"HTTP/1.1", "application/grpc-web-text", call{grpcweb.Text, "application/grpc-web-text"}},
		{"HTTP/2", "application/grpc-website", call{}},
		{"HTTP/2", "", call{}},
	} {
		var req message.Request
		req.Protocol = c.protocol
		if got := newCall(&req, c.contentType); got != c.want {
			t.Errorf("%s %q is %+v, not %+v", c.protocol, c.contentType, got, c.want)
		}
	}
}

// TestGRPCWebRefusals reads refusals as clients of gRPC-Web do: in the body, also after a
// policy has made something else of the request, and before anything was looked at.
func TestGRPCWebRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	edge := r.step("edge", policy.Hooks{OnRequest: func(x *message.Exchange) message.Verdict {
		x.Request.Header.Set("Content-Type", "application/json")
		return message.Next
	}})
	r.Swap(r.snapshot([]Step{edge}, on{path: "/a", target: func(*message.Exchange) error { return message.UpstreamClosed }}))
	for _, c := range []struct {
		contentType, path string
		wire              *message.Problem
		status            string
	}{
		{"application/grpc-web+proto", "/a", nil, "14"},
		{"application/grpc-web-text", "/a", nil, "14"},
		{"application/grpc-web", "/b", nil, "12"},
		{"application/grpc-web-text+proto", "/a", message.RequestTooLarge, "8"},
	} {
		w := &wire{}
		x := r.exchange(w, "POST", c.path, "Content-Type", c.contentType)
		if c.wire != nil {
			x.Deny(c.wire)
		}
		r.Serve(x)
		body := string(w.body)
		if strings.Contains(c.contentType, "text") {
			decoded, err := base64.StdEncoding.DecodeString(body)
			if err != nil {
				t.Errorf("%s: %q: %v", c.contentType, body, err)
			}
			body = string(decoded)
		}
		if w.status != 200 || w.header.Get("Content-Type") != c.contentType || w.header.Has("grpc-status") {
			t.Errorf("%s: %d %v", c.contentType, w.status, w.header.Fields())
		}
		if len(body) < 5 || body[0] != 0x80 || int(binary.BigEndian.Uint32([]byte(body[1:5]))) != len(body)-5 {
			t.Fatalf("%s: the body is no frame with a trailer: %q", c.contentType, body)
		}
		var trailer message.Header
		for line := range strings.SplitSeq(strings.TrimSuffix(body[5:], "\r\n"), "\r\n") {
			name, value, _ := strings.Cut(line, ": ")
			trailer.Append(name, value)
		}
		if trailer.Get("grpc-status") != c.status || trailer.Get("grpc-message") == "" || strconv.Itoa(statusOf(t, &trailer).code) != c.status {
			t.Errorf("%s: the trailer is %v", c.contentType, trailer.Fields())
		}
	}
}

// TestGRPCRefusalOnItsWay looks at what the client, the policies and the metrics see.
func TestGRPCRefusalOnItsWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var seen, shown int
	edge := r.step("edge", policy.Hooks{
		OnResponse: func(x *message.Exchange) message.Verdict { seen = x.Response.Status; return message.Next },
		OnDone:     func(x *message.Exchange) { shown = observe.Status(x) },
	})
	failure := error(message.UpstreamNoEndpoint)
	r.Swap(r.snapshot([]Step{edge}, on{path: "/a", target: func(x *message.Exchange) error {
		if failure == nil {
			return hello(x)
		}
		return failure
	}}))
	ask := func(path, timeout string, age time.Duration) *wire {
		w := &wire{}
		x := r.exchange(w, "POST", path, "content-type", "application/grpc", "te", "trailers", "grpc-timeout", timeout)
		x.Request.Protocol = "HTTP/2"
		x.Times.Started = time.Now().Add(-age)
		r.Serve(x)
		return w
	}
	for _, c := range []struct {
		path, timeout string
		failure       error
		code          int
		reason        string
		status        int
	}{
		{"/a", "1H", message.UpstreamNoEndpoint, 14, "upstream_no_endpoint", 503},
		{"/b", "1H", nil, 12, "route_not_found", 404},
		{"/a", "1H", errors.New("a mistake"), 13, "internal_error", 500},
		{"/a", "1H", message.UpstreamClosed, 14, "upstream_closed", 502},
		{"/a", "1S", message.UpstreamClosed, 4, "", 504},
		{"/a", "1S", nil, 4, "", 504},
		{"/a", "soon", message.UpstreamClosed, 14, "upstream_closed", 502},
	} {
		failure = c.failure
		w := ask(c.path, c.timeout, time.Minute)
		refused := statusOf(t, &w.header)
		if c.reason == "" { // At its deadline a client is told without details.
			refused.code, _ = strconv.Atoi(w.header.Get("grpc-status"))
		}
		if w.status != 200 || len(w.body) != 0 || refused.code != c.code || refused.reason != c.reason || seen != 200 || shown != c.status {
			t.Errorf("%s with %v: answered %d %q %+v, policies saw %d, logs %d", c.path, c.failure, w.status, w.body, refused, seen, shown)
		}
	}
	r.counts(`sluice_http_requests_total{route="route0",status="5xx"} 6`)
	failure = nil
	if w := ask("/a", "1H", 0); w.status != 200 || string(w.body) != "hello" || shown != 200 {
		t.Errorf("after refusals: %d %q, logs %d", w.status, w.body, shown)
	}
}
