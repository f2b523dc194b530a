package section

import (
	"testing"

	"github.com/sluice-gateway/sluice/internal/websocket"
	"github.com/sluice-gateway/sluice/message"
)

func TestHandshake(t *testing.T) {
	t.Parallel()
	var none Handshake
	if err := none.Answered(&message.Header{}); none.Asked() || err == nil {
		t.Errorf("a tunnel that nobody asked for: %v", err)
	}
	var shake Handshake
	req := &message.Request{Method: "CONNECT"}
	req.Header.Append("sec-websocket-key", "the client's")
	shake.Begin(req, "websocket")
	key, _ := req.Header.Lookup("Sec-WebSocket-Key")
	if !shake.Asked() || req.Method != "GET" || req.Upgrade != "websocket" || req.Header.Len() != 1 || len(key) != 24 {
		t.Errorf("%+v", req)
	}
	for _, test := range []struct {
		accept string
		good   bool
	}{{websocket.Accept(key), true}, {"", false}, {websocket.Accept("another"), false}} {
		answer := &message.Header{}
		answer.Append("Upgrade", "websocket")
		answer.Append("Sec-WebSocket-Protocol", "chat")
		if test.accept != "" {
			answer.Append("Sec-WebSocket-Accept", test.accept)
		}
		err := shake.Answered(answer)
		if (err == nil) != test.good || test.good && answer.Len() != 1 {
			t.Errorf("accept %q: %v, %v", test.accept, err, answer)
		}
	}
}

// To the client any 2xx would be its tunnel.
func TestHandshakeThatIsDeclined(t *testing.T) {
	t.Parallel()
	var none, shake Handshake
	shake.Begin(new(message.Request), "websocket")
	for status, sent := range map[int]bool{200: false, 204: false, 299: false, 302: true, 403: true, 426: true, 500: true} {
		resp := &message.Response{Status: status}
		if err := shake.Declined(resp); (err == nil) != sent {
			t.Errorf("%d: %v", status, err)
		}
		if err := none.Declined(resp); err != nil {
			t.Errorf("%d to an ordinary request: %v", status, err)
		}
	}
}
