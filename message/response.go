package message

// Response is what the client gets. A target or a policy fills it.
type Response struct {
	Status int
	// Shown is the status that logs and metrics show where Status cannot say what is
	// meant, as in a refusal of gRPC, which is sent with 200; else 0.
	Shown  int
	Header Header
	// Body is nil where the answer has none.
	Body Body
	// Length is the Content-Length that a HEAD or 304 answer announces without
	// having a body; -1 if it announces none. Ignored where there is a body.
	Length int64
	// Early says that the origin has answered before it had the whole request, and will
	// hardly read the rest: an HTTP/1 client is told that its connection ends.
	Early bool
	// Tunnel is set with status 101: the wire sends the head and then joins the
	// two connections.
	Tunnel Tunnel

	buffered Bytes
	guard    Guard
}

// SetBody makes data the body. The slice must not change until the exchange is
// done. It costs no allocation.
func (r *Response) SetBody(data []byte) {
	r.CloseBody()
	r.buffered.Reset(data)
	r.Body = &r.buffered
}

// SetStream makes a body that belongs to a connection the answer's body. Once it
// has ended the connection carries other exchanges, so it is put behind a Guard.
func (r *Response) SetStream(body Body) {
	r.guard = Guard{inner: body, length: body.Length()}
	r.Body = &r.guard
}

// CloseBody gives up the body that is there.
func (r *Response) CloseBody() {
	if r.Body != nil {
		_ = r.Body.Close()
		r.Body = nil
	}
}

// Wrap puts a body around the one that is there. Who changes the number of
// bytes must return -1 or the new number from Length.
func (r *Response) Wrap(around func(Body) Body) {
	if r.Body != nil {
		r.Body = around(r.Body)
	}
}

// unreadBody is how much of the body of an answer that nobody wants is read and dropped.
const unreadBody = 64 << 10

// Settle is called by a wire for an answer that is no tunnel, before anything of it is sent: a
// tunnel that is still there, because somebody has made another answer of it, is closed. The error
// is that the status is none that ends an exchange; the body is closed then.
func (r *Response) Settle() error {
	if r.Tunnel != nil {
		_ = r.Tunnel.Close()
		r.Tunnel = nil
	}
	if r.Status < 200 || r.Status > 999 {
		r.CloseBody()
		return Internal.WithDetail("the answer has no final status")
	}
	return nil
}

// Drop gives up an answer that is not good enough, before anything of it was sent. What is
// there of its body is read, so that its connection can be used again; more is not waited
// for. Then the response is empty.
func (r *Response) Drop() {
	if t := r.Tunnel; t != nil {
		_ = t.Close()
	}
	if body, ok := r.Body.(Ready); ok {
		for dropped := 0; dropped < unreadBody && body.Ready(); {
			chunk, err := r.Body.Next()
			if err != nil {
				break
			}
			dropped += len(chunk)
		}
	}
	r.CloseBody()
	r.Reset()
}

// Reset empties the response and keeps its room. It does not close the body.
func (r *Response) Reset() {
	fields := r.Header
	fields.Reset()
	*r = Response{Header: fields, Length: -1}
}

// BodyAllowed says whether an answer with this status may have a body at all
// (RFC 9110 §6.4.1); for HEAD the method decides too.
func BodyAllowed(method string, status int) bool {
	return status >= 200 && status != 204 && status != 304 && method != "HEAD"
}
