package discovery

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// dnsmasq is Debian's DNS server, with a file of hosts that can be changed.
type dnsmasq struct {
	address string
	hosts   string
	ttl     int // of each record, in seconds
	args    []string
	command *exec.Cmd
}

// ports gives each server of this process another port, below those that other tests
// listen on and that the kernel takes for outgoing connections.
var ports = func() *atomic.Int32 {
	n := &atomic.Int32{}
	n.Store(int32(os.Getpid() * 31 % 3000))
	return n
}()

// freeAddress is one that was free for TCP and UDP a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(11_000+int(ports.Add(1)%3000)))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", address)
		syscall.ForkLock.RLock() // A child that is being started would keep it open.
		_ = l.Close()
		syscall.ForkLock.RUnlock()
		if err == nil {
			_ = u.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// startDNSMasq runs it on a free port of the loopback network.
func startDNSMasq(t *testing.T, hosts string, args ...string) *dnsmasq {
	t.Helper()
	m := &dnsmasq{address: freeAddress(t), hosts: filepath.Join(t.TempDir(), "hosts"), ttl: 1, args: args}
	m.write(t, hosts)
	m.start(t)
	t.Cleanup(m.stop)
	return m
}

func (m *dnsmasq) write(t *testing.T, hosts string) {
	t.Helper()
	if err := os.WriteFile(m.hosts, []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *dnsmasq) start(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		path = "/usr/sbin/dnsmasq"
	}
	_, port, _ := net.SplitHostPort(m.address)
	m.command = exec.Command(path, append([]string{
		"--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--addn-hosts=" + m.hosts, "--pid-file",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + port, "--local-ttl=" + strconv.Itoa(m.ttl), "--local=/internal/",
	}, m.args...)...)
	m.command.Stderr = os.Stderr
	if !testing.Verbose() {
		m.command.Stderr = nil
	}
	if err := m.command.Start(); err != nil {
		t.Fatalf("dnsmasq is needed for this test: apt-get install dnsmasq-base (or run tools/setup/test.sh): %v", err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", m.address)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("dnsmasq does not listen: %v", err)
		}
	}
}

func (m *dnsmasq) stop() {
	_ = m.command.Process.Kill()
	_ = m.command.Wait()
}

// change writes other hosts and has them read.
func (m *dnsmasq) change(t *testing.T, hosts string) {
	t.Helper()
	m.write(t, hosts)
	if err := m.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestDNSMasq(t *testing.T) {
	t.Parallel()
	m := startDNSMasq(t, "10.0.0.1 orders.internal\n10.0.0.2 orders.internal\n2001:db8::1 orders.internal\n")
	r := watched(t, &DNS{Name: "orders.internal", Port: 8080, Servers: []string{m.address}})
	six := watched(t, &DNS{Name: "orders.internal", Port: 8080, Servers: []string{m.address}, Family: Both})
	r.becomes(t, "10.0.0.1:8080, 10.0.0.2:8080")
	six.becomes(t, "10.0.0.1:8080, 10.0.0.2:8080, [2001:db8::1]:8080")

	m.change(t, "10.0.0.2 orders.internal\n10.0.0.3 orders.internal\n")
	r.becomes(t, "10.0.0.2:8080, 10.0.0.3:8080")
	six.becomes(t, "10.0.0.2:8080, 10.0.0.3:8080")

	// The name is taken away: the list is kept.
	m.change(t, "10.0.0.9 others.internal\n")
	r.complains(t, "discovery: dns orders.internal:8080: there is no orders.internal (NXDOMAIN)")
	// The server is killed: the list is kept.
	m.stop()
	r.complains(t, m.address+": A orders.internal: connection refused")
	if last, n := r.last(); last != "10.0.0.2:8080, 10.0.0.3:8080" || n != 2 {
		t.Errorf("%d lists, the last one %s", n, last)
	}
	// It comes back with others.
	m.write(t, "10.0.0.4 orders.internal\n")
	m.start(t)
	r.becomes(t, "10.0.0.4:8080")
	if got := len(r.told()); got != 2 {
		t.Errorf("faults %q, want each once", r.told())
	}
}

// TestDNSMasqTimeToLive: the time to live of the records decides when to ask again.
func TestDNSMasqTimeToLive(t *testing.T) {
	t.Parallel()
	m := startDNSMasq(t, "10.0.0.1 orders.internal\n")
	m.stop()
	m.ttl = 33
	m.start(t)
	d := DNS{Name: "orders.internal", Port: 80, Servers: []string{m.address}}
	r, err := d.look(t.Context())
	if err != nil || r.again < 33*time.Second || r.again > 37*time.Second {
		t.Errorf("again in %v, %v", r.again, err)
	}
	// A name that the server knows nothing of, and has nobody to ask: REFUSED.
	d.Name = "orders.example.com"
	if _, err := d.look(t.Context()); err == nil || !strings.Contains(err.Error(), "it answered REFUSED") {
		t.Errorf("a foreign name: %v", err)
	}
}

func TestDNSMasqServices(t *testing.T) {
	t.Parallel()
	hosts := "10.0.0.1 a.internal\n10.0.0.2 b.internal\n10.0.0.3 b.internal\n"
	m := startDNSMasq(t, hosts, "--srv-host=_http._tcp.orders.internal,a.internal,8080,10,60", "--srv-host=_http._tcp.orders.internal,b.internal,8081,20,40")
	d := &DNS{Name: "_http._tcp.orders.internal", SRV: true, Servers: []string{m.address}}
	r := watched(t, d)
	r.becomes(t, "10.0.0.1:8080 weight=60 priority=10, 10.0.0.2:8081 weight=40 priority=20, 10.0.0.3:8081 weight=40 priority=20")
	m.change(t, "10.0.0.1 a.internal\n10.0.0.3 b.internal\n")
	r.becomes(t, "10.0.0.1:8080 weight=60 priority=10, 10.0.0.3:8081 weight=40 priority=20")
	m.stop()
	m.args = []string{"--srv-host=_http._tcp.orders.internal,a.internal,8080,10,5", "--srv-host=_http._tcp.orders.internal,gone.internal,8081"}
	m.start(t)
	r.becomes(t, "10.0.0.1:8080 weight=5 priority=10")
	r.complains(t, "the target gone.internal has no address: it is left out")
}

// TestDNSMasqManyAddresses: an answer that does not fit into UDP comes over TCP.
func TestDNSMasqManyAddresses(t *testing.T) {
	t.Parallel()
	var hosts strings.Builder
	for i := range 250 {
		fmt.Fprintf(&hosts, "10.0.1.%d orders.internal\n", i)
	}
	m := startDNSMasq(t, hosts.String())
	q := new(dns.Msg)
	q.SetQuestion("orders.internal.", dns.TypeA)
	q.SetEdns0(udpSize, false)
	r := &resolver{timeout: 10 * time.Second}
	if answer, err := r.over(t.Context(), "udp", m.address, q); err != nil || !answer.Truncated {
		t.Fatalf("over UDP: truncated %v, %v", answer, err)
	}
	d := DNS{Name: "orders.internal", Port: 80, Servers: []string{m.address}}
	got, err := d.look(t.Context())
	if err != nil || len(got.list) != 250 {
		t.Errorf("%d endpoints, %v", len(got.list), err)
	}
}
