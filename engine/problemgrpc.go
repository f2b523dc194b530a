package engine

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
)

// GRPCDomain is the domain of the ErrorInfo with which refusals tell their code.
const GRPCDomain = "sluice"

// Codes of gRPC that refusals have.
const (
	grpcCancelled         = 1
	grpcUnknown           = 2
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcCode says with which code a status is told. It is the table that clients use for
// answers without a code, but for what can be said better: 429 and 413 are exhausted
// resources, 504 a deadline, and what never works is not called unknown.
func grpcCode(status int) int {
	switch status {
	case 400, 414, 417, 431, 500, 508:
		return grpcInternal
	case 401:
		return grpcUnauthenticated
	case 403:
		return grpcPermissionDenied
	case 404, 405, 501, 505:
		return grpcUnimplemented
	case 413, 429:
		return grpcResourceExhausted
	case 408, 502, 503:
		return grpcUnavailable
	case 499:
		return grpcCancelled
	case 504:
		return grpcDeadlineExceeded
	}
	return grpcUnknown
}

// call is how the client of a gRPC call wants to hear of a refusal. The zero value is
// no call.
type call struct {
	form  grpcweb.Form
	media string // the media type of its messages, without parameters
}

// newCall reads the Content-Type with which a request came: policies may change it. gRPC is not
// spoken over HTTP/1; gRPC-Web is.
func newCall(req *message.Request, contentType string) call {
	form, media, _ := grpcweb.Parse(contentType)
	if form == grpcweb.GRPC && strings.HasPrefix(req.Protocol, "HTTP/1") {
		return call{}
	}
	return call{form, media}
}

// answerGRPC fills x.Response with a problem as gRPC tells it: a head without a body, that
// has what usually stands in the trailer ("Trailers-Only"). gRPC-Web has it in the body,
// which scripts in browsers may read whatever CORS says of fields. Logs and metrics show the
// problem's status instead of the 200 that is sent.
func answerGRPC(x *message.Exchange, c call, problem *message.Problem) {
	code, text := grpcCode(problem.Status), grpcText(problem)
	told := []message.Field{{Name: "grpc-status", Value: strconv.Itoa(code)}, {Name: "grpc-message", Value: string(appendPercent(nil, text))}}
	// At its deadline a client ends the call itself, and knows no details: which of the two was
	// quicker shall not matter to a program.
	if problem.Code != message.DeadlineExceeded.Code {
		details := appendStatus(nil, code, text, problem, x.Facts.RequestID)
		told = append(told, message.Field{Name: "grpc-status-details-bin", Value: base64.RawStdEncoding.EncodeToString(details)})
	}
	x.Response.Status, x.Response.Shown = 200, problem.Status
	x.Response.Header.Set("Content-Type", c.media)
	if c.form == grpcweb.GRPC {
		for _, f := range told {
			x.Response.Header.Set(f.Name, f.Value)
		}
		return
	}
	body, at := grpcweb.BeginTrailer(nil)
	for _, f := range told {
		body = grpcweb.AppendField(body, f.Name, f.Value)
	}
	body = grpcweb.EndTrailer(body, at)
	if c.form == grpcweb.Text {
		body = grpcweb.AppendText(nil, body)
	}
	x.Response.SetBody(body)
}

// maxGRPCText is how much is told of what went wrong, in bytes: some clients refuse heads
// of more than 8 KiB, and the text stands there twice, once with escapes.
const maxGRPCText = 1024

// grpcText is what a problem says to people, as valid UTF-8.
func grpcText(problem *message.Problem) string {
	text := problem.Title
	if problem.Detail != "" {
		text += ": " + problem.Detail
	}
	if len(text) > maxGRPCText {
		text = text[:maxGRPCText]
	}
	return strings.ToValidUTF8(text, "")
}

// appendPercent appends a text as it stands in grpc-message: everything but printable
// ASCII is escaped, and the percent sign.
func appendPercent(out []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		if c := text[i]; c >= ' ' && c <= '~' && c != '%' {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return out
}

// appendStatus appends a google.rpc.Status with one detail, a google.rpc.ErrorInfo.
func appendStatus(out []byte, code int, text string, problem *message.Problem, requestID string) []byte {
	info := appendField(nil, 1, problem.Code)
	info = appendField(info, 2, GRPCDomain)
	info = appendEntry(info, "source", problem.Source.String())
	info = appendEntry(info, "retry", problem.Retry.String())
	if requestID != "" {
		info = appendEntry(info, "request_id", strings.ToValidUTF8(requestID, "\ufffd"))
	}
	detail := appendField(nil, 1, "type.googleapis.com/google.rpc.ErrorInfo")
	detail = appendField(detail, 2, string(info))

	out = append(out, 1<<3) // Field 1, a varint (wire type 0).
	out = binary.AppendUvarint(out, uint64(code))
	out = appendField(out, 2, text)
	return appendField(out, 3, string(detail))
}

// appendEntry appends an entry of ErrorInfo's metadata, which is field 3.
func appendEntry(out []byte, key, value string) []byte {
	entry := appendField(nil, 1, key)
	return appendField(out, 3, string(appendField(entry, 2, value)))
}

// appendField appends a field of bytes, a string or a message in the wire format of
// protocol buffers. Numbers are below 16, so that they take one byte.
func appendField(out []byte, number byte, value string) []byte {
	out = append(out, number<<3|2)
	out = binary.AppendUvarint(out, uint64(len(value)))
	return append(out, value...)
}
