package message

// IsGRPC says whether a request is a gRPC call, by its media type: application/grpc, with a suffix or
// parameters. gRPC-Web is another protocol.
func IsGRPC(req *Request) bool {
	const media = "application/grpc"
	if req.Method != "POST" {
		return false
	}
	kind := req.Header.Get("Content-Type")
	if len(kind) < len(media) || !EqualFold(kind[:len(media)], media) {
		return false
	}
	if len(kind) == len(media) {
		return true
	}
	switch kind[len(media)] {
	case '+', ';', ' ', '\t':
		return true
	}
	return false
}
