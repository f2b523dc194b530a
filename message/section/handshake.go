package section

import (
	"github.com/sluice-gateway/sluice/internal/websocket"
	"github.com/sluice-gateway/sluice/message"
)

// Handshake is an extended CONNECT (RFC 8441 §5, RFC 9220 §3) as an HTTP/1.1 origin knows it: a GET
// that asks for an upgrade, with a key, which HTTP/2 and HTTP/3 do not have. The zero value is that
// of a request that asks for nothing.
type Handshake struct {
	accept string // what the answer to the key is
}

// Begin makes the request ask for an upgrade to the protocol.
func (k *Handshake) Begin(req *message.Request, protocol string) {
	key := websocket.NewKey()
	k.accept = websocket.Accept(key)
	req.Method = "GET"
	req.Upgrade = protocol
	req.Header.Del("Sec-WebSocket-Key")
	req.Header.Append("Sec-WebSocket-Key", key)
}

// Asked says whether Begin was called.
func (k *Handshake) Asked() bool { return k.accept != "" }

// Answered takes from the head of a 101 what the client of an extended CONNECT does not know. The
// error says why there is no tunnel.
func (k *Handshake) Answered(header *message.Header) error {
	if !k.Asked() {
		return message.Internal.WithDetail("a tunnel for a request that did not ask for one")
	}
	if header.Get("Sec-WebSocket-Accept") != k.accept {
		return message.UpstreamMalformed.WithDetail("the origin accepts another WebSocket than the one that was asked for")
	}
	header.Del("Sec-WebSocket-Accept")
	header.Del("Upgrade")
	return nil
}

// Declined decides whether an answer that makes no tunnel may be sent: any 2xx would tell the client
// that its tunnel stands (RFC 8441 §5, RFC 9220 §3).
func (k *Handshake) Declined(resp *message.Response) error {
	if k.Asked() && resp.Status/100 == 2 {
		return message.UpstreamMalformed.WithDetail("the handshake of a WebSocket is answered as if it were an ordinary request")
	}
	return nil
}
