// Package grpchealth writes and reads the messages of gRPC's health protocol, without a
// network: whoever checks an endpoint sends the bytes with what he has.
//
// The protocol is one call, grpc.health.v1.Health/Check, whose messages have one field each
// (health/v1/health.proto of the gRPC project).
package grpchealth

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a request for a check is made of, beside its body: it is a POST over HTTP/2 with
// "te: trailers".
const (
	Path        = "/grpc.health.v1.Health/Check"
	ContentType = "application/grpc"
)

// MaxAnswer is how long the body of an answer may be: it has two bytes of message, and room
// for fields that later versions may add.
const MaxAnswer = 1 << 10

// frameHead is the flag and the length before each message.
const frameHead = 5

// AppendRequest appends the body of a request: the question how a service is. The empty
// name asks for the server as a whole. How long a name may be, the configuration says.
func AppendRequest(dst []byte, service string) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0)
	if service != "" {
		dst = append(dst, 1<<3|2) // Field 1, bytes.
		dst = binary.AppendUvarint(dst, uint64(len(service)))
		dst = append(dst, service...)
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-frameHead))
	return dst
}

// Status is what a server says of a service.
type Status uint8

const (
	Unknown        Status = 0
	Serving        Status = 1
	NotServing     Status = 2
	ServiceUnknown Status = 3 // the server does not know the service
)

func (s Status) String() string {
	switch s {
	case Serving:
		return "serving"
	case NotServing:
		return "not serving"
	case ServiceUnknown:
		return "service unknown"
	}
	return "unknown"
}

// Codes of gRPC that say something about health.
const (
	codeOK            = "0"
	codeNotFound      = "5"
	codeUnimplemented = "12"
)

// ErrUnimplemented says that the server does not take part in the protocol.
var ErrUnimplemented = errors.New("grpchealth: the server has no health service")

// Read says what an answer means: code and text are the fields grpc-status and grpc-message of
// its trailer, or of its head where it has no body. Every error means that the endpoint
// cannot be believed to be healthy.
func Read(code, text string, body []byte) (Status, error) {
	switch code {
	case codeOK:
		return parse(body)
	case codeNotFound:
		return ServiceUnknown, nil
	case codeUnimplemented:
		return Unknown, ErrUnimplemented
	case "":
		return Unknown, errors.New("grpchealth: the answer has no grpc-status")
	}
	return Unknown, fmt.Errorf("grpchealth: the server answers with status %q: %q", code, text)
}

var errCut = errors.New("grpchealth: the answer ends early")

// parse reads the one message of an answer.
func parse(body []byte) (Status, error) {
	switch {
	case len(body) > MaxAnswer:
		return Unknown, fmt.Errorf("grpchealth: the answer has more than %d bytes", MaxAnswer)
	case len(body) < frameHead:
		return Unknown, errCut
	case body[0] != 0:
		return Unknown, errors.New("grpchealth: the answer is compressed, and nobody asked for that")
	}
	data := body[frameHead:]
	switch n := binary.BigEndian.Uint32(body[1:]); {
	case uint64(n) > uint64(len(data)):
		return Unknown, errCut
	case uint64(n) < uint64(len(data)):
		return Unknown, errors.New("grpchealth: the answer has more than one message")
	}
	return parseMessage(data)
}

// parseMessage reads a HealthCheckResponse: field 1 is a varint with the status, the last
// one counts, and other fields are skipped.
func parseMessage(data []byte) (Status, error) {
	status := Unknown
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		if n <= 0 || key>>3 == 0 || key > 1<<32-1 {
			return Unknown, errors.New("grpchealth: the answer is no message of protocol buffers")
		}
		data = data[n:]
		value, size, err := skip(data, key&7)
		if err != nil {
			return Unknown, err
		}
		data = data[size:]
		if key == 1<<3 {
			status = known(value)
		}
	}
	return status, nil
}

// known makes a value that the protocol does not have an unknown one.
func known(value uint64) Status {
	if value > uint64(ServiceUnknown) {
		return Unknown
	}
	return Status(value)
}

// skip says how long the value of a field is, and what it is if it is a varint.
func skip(data []byte, wire uint64) (value uint64, size int, err error) {
	switch wire {
	case 0:
		value, size = binary.Uvarint(data)
		if size <= 0 {
			return 0, 0, errCut
		}
		return value, size, nil
	case 1:
		size = 8
	case 2:
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return 0, 0, errCut
		}
		size = n + int(length)
	case 5:
		size = 4
	default:
		return 0, 0, fmt.Errorf("grpchealth: a field of the answer has wire type %d", wire)
	}
	if size > len(data) {
		return 0, 0, errCut
	}
	return 0, size, nil
}
