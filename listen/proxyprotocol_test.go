package listen

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/internal/proxyprotocol"
)

// pair is both ends of a connection over loopback.
func pair(t testing.TB) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close(); _ = there.Close() })
	return here.(*net.TCPConn), there.(*net.TCPConn)
}

var (
	loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	nowhere  = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	told     = netip.MustParseAddrPort("192.0.2.7:4711")
)

func header(version int) string {
	return string(proxyprotocol.Append(nil, version, proxyprotocol.Ends{Source: told, Destination: netip.MustParseAddrPort("198.51.100.1:80")}))
}

const ask = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"

// TestIntroduced reads what proxies say; whatever follows it stays in the socket.
func TestIntroduced(t *testing.T) {
	t.Parallel()
	long := header(2)
	long = long[:14] + "\x03\xf3" + long[16:] + "\x04\x03\xe4" + strings.Repeat("x", 996)
	for name, test := range map[string]struct {
		mode    ProxyProtocol
		trusted []netip.Prefix
		within  time.Duration
		sent    string
		closes  bool
		client  netip.AddrPort
		refused string
		left    string
	}{
		"off":                     {ProxyOff, loopback, 0, header(1), true, netip.AddrPort{}, "", header(1)},
		"accepted text":           {ProxyAccept, loopback, 0, header(1) + ask, true, told, "", ask},
		"accepted binary":         {ProxyAccept, loopback, 0, header(2) + ask, true, told, "", ask},
		"required text":           {ProxyRequire, loopback, 0, header(1) + ask, true, told, "", ask},
		"required binary":         {ProxyRequire, loopback, 0, header(2) + ask, true, told, "", ask},
		"extensions":              {ProxyRequire, loopback, 0, long + ask, true, told, "", ask},
		"two headers":             {ProxyRequire, loopback, 0, header(1) + header(1), true, told, "", header(1)},
		"unknown":                 {ProxyRequire, loopback, 0, "PROXY UNKNOWN\r\n" + ask, true, netip.AddrPort{}, "", ask},
		"accepted without":        {ProxyAccept, loopback, 0, ask, true, netip.AddrPort{}, "", ask},
		"accepted PRI":            {ProxyAccept, loopback, 0, preface, true, netip.AddrPort{}, "", preface},
		"accepted, says nothing":  {ProxyAccept, loopback, 20 * time.Millisecond, "", false, netip.AddrPort{}, "", ""},
		"accepted, leaves":        {ProxyAccept, loopback, 0, "", true, netip.AddrPort{}, "", ""},
		"accepted, begins":        {ProxyAccept, loopback, 20 * time.Millisecond, "PROXY", false, netip.AddrPort{}, "", "PROXY"},
		"accepted, slow":          {ProxyAccept, loopback, 20 * time.Millisecond, "PROXY ", false, netip.AddrPort{}, ProxyTimeout, "PROXY "},
		"accepted, malformed":     {ProxyAccept, loopback, 0, "PROXY / HTTP/1.1\r\n", false, netip.AddrPort{}, ProxyMalformed, "PROXY / HTTP/1.1\r\n"},
		"accepted from stranger":  {ProxyAccept, nowhere, 0, header(1), true, netip.AddrPort{}, "", header(1)},
		"required, other":         {ProxyRequire, loopback, 0, ask, false, netip.AddrPort{}, ProxyMissing, ask},
		"required, malformed":     {ProxyRequire, loopback, 0, "PROXY TCP4\r\n", false, netip.AddrPort{}, ProxyMalformed, "PROXY TCP4\r\n"},
		"required, says nothing":  {ProxyRequire, loopback, 20 * time.Millisecond, "", false, netip.AddrPort{}, ProxyTimeout, ""},
		"required, slow":          {ProxyRequire, loopback, 20 * time.Millisecond, long[:400], false, netip.AddrPort{}, ProxyTimeout, long[:400]},
		"required, cut":           {ProxyRequire, loopback, 20 * time.Millisecond, "PROXY TCP", true, netip.AddrPort{}, ProxyTimeout, "PROXY TCP"},
		"required, leaves":        {ProxyRequire, loopback, 0, "", true, netip.AddrPort{}, ProxyClosed, ""},
		"required from strangers": {ProxyRequire, nowhere, 0, header(1), true, netip.AddrPort{}, ProxyUntrusted, header(1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var i introductions
			i.rule.Store(newProxyRule(test.mode, test.trusted, test.within))
			ours, theirs := pair(t)
			if _, err := io.WriteString(theirs, test.sent); err != nil {
				t.Fatal(err)
			}
			if test.closes {
				_ = theirs.CloseWrite()
			}
			client, refused := i.introduced(ours)
			if client != test.client || refused != test.refused || len(i.conns) != 0 {
				t.Errorf("%v, refused: %q; %d wait", client, refused, len(i.conns))
			}
			_ = theirs.CloseWrite()
			if left, err := io.ReadAll(ours); err != nil || string(left) != test.left {
				t.Errorf("%q is left, %v", left, err)
			}
		})
	}
}

// TestIntroducedSlowly sends headers byte by byte.
func TestIntroducedSlowly(t *testing.T) {
	t.Parallel()
	for version := 1; version <= 2; version++ {
		var i introductions
		i.rule.Store(newProxyRule(ProxyAccept, loopback, 0))
		ours, theirs := pair(t)
		go func() {
			for _, b := range []byte(header(version) + ask) {
				_, _ = theirs.Write([]byte{b})
			}
			_ = theirs.CloseWrite()
		}()
		client, refused := i.introduced(ours)
		left, err := io.ReadAll(ours)
		if client != told || refused != "" || string(left) != ask || err != nil {
			t.Errorf("version %d: %v, refused: %q, %q, %v", version, client, refused, left, err)
		}
	}
}

// TestIntroductionsEnd does not wait for a header when the listener ends, neither for
// those that wait nor for those that come later.
func TestIntroductionsEnd(t *testing.T) {
	t.Parallel()
	var i introductions
	i.rule.Store(newProxyRule(ProxyRequire, loopback, time.Hour))
	refused := make(chan string)
	first, _ := pair(t)
	second, _ := pair(t)
	wait := func(nc net.Conn) {
		_, why := i.introduced(nc)
		refused <- why
	}
	go wait(first)
	until(func() bool { i.mu.Lock(); defer i.mu.Unlock(); return len(i.conns) == 1 })
	i.hurry(time.Now())
	go wait(second)
	for range 2 {
		if why := <-refused; why != ProxyTimeout {
			t.Errorf("%q", why)
		}
	}
}

// TestNoSocket is a connection that cannot be looked at.
func TestNoSocket(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	if _, _, err := readHeader(ours); err != errNoSocket {
		t.Error(err)
	}
	if newProxyRule(ProxyRequire, loopback, 0).believes(ours) {
		t.Error("a peer without an address is believed")
	}
}
