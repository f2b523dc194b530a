package listen

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// refusals turns connections away for which there is no room.
type refusals struct{ open atomic.Int32 }

// The limits of refusals: how many wait for their clients at once, for how long,
// and how much they read meanwhile. A full gateway has little for more.
const (
	maxRefusals  = 256
	refusalTime  = time.Second
	refusalBytes = 64 << 10
)

var refusal = []byte(http1.Refusal(message.TooManyConnections))

// refuse answers and closes. Closing a socket with unread bytes makes the kernel
// send a reset, which may overtake the answer (RFC 9112 §9.6), so what the client
// has sent is read, until it has closed too. Under a flood of connections there
// is no waiting.
func (r *refusals) refuse(nc net.Conn) {
	if r.open.Add(1) > maxRefusals {
		r.open.Add(-1)
		_ = nc.SetDeadline(time.Now().Add(time.Millisecond))
		_, _ = nc.Write(refusal)
		_ = nc.Close()
		return
	}
	go func() {
		defer r.open.Add(-1)
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(refusalTime))
		if _, err := nc.Write(refusal); err == nil {
			linger(nc)
		}
	}()
}

// linger reads until the client has closed too, or until the deadline of the connection.
func linger(nc net.Conn) {
	if half, ok := nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	var drop [512]byte
	for dropped := 0; dropped < refusalBytes; {
		n, err := nc.Read(drop[:])
		if err != nil {
			return
		}
		dropped += n
	}
}
