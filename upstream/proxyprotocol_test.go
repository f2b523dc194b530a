package upstream

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
	"github.com/sluice-gateway/sluice/message"
)

// telling answers each request with the header that its connection began with.
func telling(c *played) {
	var head []byte
	for {
		h, n, err := proxyprotocol.Parse(head)
		if errors.Is(err, proxyprotocol.ErrShort) {
			b, err := c.in.ReadByte()
			if err != nil {
				return
			}
			head = append(head, b)
			continue
		}
		if err != nil || n != len(head) {
			c.answer(500, "no header")
			return
		}
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.answer(200, h.Ends.Source.String()+" "+h.Ends.Destination.String())
		}
	}
}

// of is a request of a client connection.
func of(peer, address string) *message.Exchange {
	x := exchange(&wire{}, "GET", nil)
	x.Client.Local = netip.MustParseAddrPort("198.51.100.1:443")
	if peer != "" {
		x.Client.Peer, x.Client.Address = netip.MustParseAddrPort(peer), netip.MustParseAddr(address)
	}
	return x
}

// TestProxyProtocol tells each origin connection of one client connection, and uses it
// for no other.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 2; version++ {
		o := newOrigin(t, telling)
		c := to(o.address)
		c.ProxyProtocol = version
		u, _ := newUpstream(t, c)
		for i, step := range []struct {
			peer, address, want string
			accepted            int64
		}{
			{"192.0.2.1:1000", "192.0.2.1", "192.0.2.1:1000", 1},
			{"192.0.2.1:1000", "192.0.2.1", "192.0.2.1:1000", 1},
			{"192.0.2.1:1001", "192.0.2.1", "192.0.2.1:1001", 2},
			{"192.0.2.2:1000", "192.0.2.2", "192.0.2.2:1000", 3},
			{"192.0.2.1:1000", "192.0.2.1", "192.0.2.1:1000", 3},
			{"192.0.2.1:1000", "192.0.2.9", "192.0.2.9:0", 4}, // Of a proxy's own client.
			{"192.0.2.1:1000", "192.0.2.1", "192.0.2.1:1000", 4},
			{"", "", "invalid AddrPort", 5},
			{"", "", "invalid AddrPort", 5},
		} {
			body := mustAsk(t, u, of(step.peer, step.address))
			destination := " 198.51.100.1:443"
			if step.peer == "" {
				destination = " invalid AddrPort"
			}
			if body != step.want+destination || o.accepted.Load() != step.accepted {
				t.Errorf("version %d, step %d: %q over connection %d", version, i, body, o.accepted.Load())
			}
		}
		atRest(t, u)
	}
}

// TestProxyProtocolRoom: connections of other clients make room, among those that are
// open and among those that are idle, and who waits for one gets its room only.
func TestProxyProtocolRoom(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, telling)
	c := limited(o.address, 1)
	c.ProxyProtocol = 2
	u, _ := newUpstream(t, c)
	for _, peer := range []string{"192.0.2.1:1", "192.0.2.2:1"} {
		if body := mustAsk(t, u, of(peer, peer[:9])); body != peer+" 198.51.100.1:443" {
			t.Errorf("%q", body)
		}
	}
	first := of("192.0.2.1:1", "192.0.2.1")
	if err := u.RoundTrip(first, &first.Request, &first.Response); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if body := mustAsk(t, u, of("192.0.2.3:1", "192.0.2.3")); body != "192.0.2.3:1 198.51.100.1:443" {
			t.Errorf("%q", body)
		}
	})
	waiting(u.Endpoints()[0], 1)
	finish(t, first)
	wait.Wait()
	atRest(t, u)

	c = to(o.address)
	c.ProxyProtocol, c.MaxIdle = 1, 2
	u, _ = newUpstream(t, c)
	for _, peer := range []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"} {
		mustAsk(t, u, of(peer, peer[:9]))
	}
	before := o.accepted.Load()
	mustAsk(t, u, of("192.0.2.3:1", "192.0.2.3"))
	mustAsk(t, u, of("192.0.2.2:1", "192.0.2.2"))
	if _, idle := u.Endpoints()[0].Connections(); idle != 2 || o.accepted.Load() != before {
		t.Errorf("%d idle, %d new connections", idle, o.accepted.Load()-before)
	}
	atRest(t, u)
}

// TestProxyProtocolMixed is a client of the other family than the address that it came in by.
func TestProxyProtocolMixed(t *testing.T) {
	t.Parallel()
	x := of("[2001:db8::1]:7", "2001:db8::1")
	got := proxyprotocol.Append(nil, 1, endsOf(x))
	if want := []byte("PROXY TCP6 2001:db8::1 ::ffff:198.51.100.1 7 443\r\n"); !bytes.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
