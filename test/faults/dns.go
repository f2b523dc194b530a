package faults

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sluice-gateway/sluice/test/rig"
)

// nameServer is a DNS server that knows one name, over UDP. Its methods may be called
// from any goroutine.
type nameServer struct {
	address string
	conn    net.PacketConn

	mu        sync.Mutex
	addresses []netip.Addr
	trouble   dnsTrouble
}

// dnsTrouble is what is wrong with a name server.
type dnsTrouble uint8

const (
	dnsWell   dnsTrouble = iota
	dnsSilent            // it does not answer
	dnsFails             // it answers SERVFAIL
	dnsGone              // it says that the name is not there
)

// originName is what the server knows, and recordTTL for how many seconds that is so.
const (
	originName = "origins.internal"
	recordTTL  = 1
)

func newNameServer() (*nameServer, error) {
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return nil, err
	}
	n := &nameServer{address: address, conn: conn}
	go n.serve()
	return n, nil
}

func (n *nameServer) close() { _ = n.conn.Close() }

// tell changes the addresses of the name to those of origins.
func (n *nameServer) tell(origins ...*Origin) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble, n.addresses = dnsWell, nil
	for _, o := range origins {
		n.addresses = append(n.addresses, netip.MustParseAddrPort(o.Address).Addr())
	}
}

// fail makes something wrong, until tell.
func (n *nameServer) fail(trouble dnsTrouble) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trouble = trouble
}

func (n *nameServer) serve() {
	buffer := make([]byte, 4096)
	for {
		size, from, err := n.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var question dnsmessage.Message
		if question.Unpack(buffer[:size]) != nil || len(question.Questions) != 1 {
			continue
		}
		if answer, ok := n.answer(&question); ok {
			if packed, err := answer.Pack(); err == nil {
				_, _ = n.conn.WriteTo(packed, from)
			}
		}
	}
}

func (n *nameServer) answer(question *dnsmessage.Message) (dnsmessage.Message, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := question.Questions[0]
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: question.ID, Response: true, Authoritative: true},
		Questions: question.Questions,
	}
	switch {
	case n.trouble == dnsSilent:
		return answer, false
	case n.trouble == dnsFails:
		answer.RCode = dnsmessage.RCodeServerFailure
	case n.trouble == dnsGone || asked.Name.String() != originName+".":
		answer.RCode = dnsmessage.RCodeNameError
	case asked.Type == dnsmessage.TypeA:
		for _, a := range n.addresses {
			answer.Answers = append(answer.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class, TTL: recordTTL},
				Body:   &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
	return answer, true
}

// neighbours starts origins on one port of several addresses of the loopback network, as
// the addresses of one name are.
func neighbours(n int) ([]*Origin, error) {
	first, err := rig.FreeAddress()
	if err != nil {
		return nil, err
	}
	port := netip.MustParseAddrPort(first).Port()
	var origins []*Origin
	for i := range n {
		address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), port)
		o, err := newOriginAt(address.String(), 0)
		if err != nil {
			downAll(origins)
			return nil, err
		}
		origins = append(origins, o)
	}
	return origins, nil
}

// noticed is how long a change of DNS may take: the time to live, a look that is under way,
// and the tenth by which looks are lengthened.
const noticed = 2 * time.Second

// dnsChanges has endpoints that come and go by DNS, under load: one comes, one leaves
// with requests under way and is ended, DNS fails for a while, and the one that left
// comes back.
func dnsChanges(p Pace) (Report, error) {
	server, err := newNameServer()
	if err != nil {
		return Report{}, err
	}
	defer server.close()
	origins, err := neighbours(3)
	if err != nil {
		return Report{}, err
	}
	leaving, staying, coming := origins[0], origins[1], origins[2]
	server.tell(leaving, staying)
	_, port, err := net.SplitHostPort(staying.Address)
	if err != nil {
		return Report{}, err
	}
	s, err := startStage(origins, upstream("origins",
		fmt.Sprintf("discovery: { dns: { name: %s, port: %s, servers: [%q] } }", originName, port, server.address))+routeTo("origins"))
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	leaving.Behave(Behaviour{Delay: 300 * time.Millisecond}) // Much of it is under way when it leaves.
	var r Report
	var came, back bool
	var late int64
	r.Seen, err = s.during(p.Rate, func() error {
		time.Sleep(p.Step / 2)
		server.tell(leaving, staying, coming)
		came = coming.asked(unseen)
		server.tell(staying, coming)
		time.Sleep(noticed)
		before := leaving.Counts().Requests
		time.Sleep(p.Step / 2)
		late = leaving.Counts().Requests - before
		leaving.Down()
		for _, trouble := range []dnsTrouble{dnsFails, dnsGone, dnsSilent} {
			server.fail(trouble)
			time.Sleep(p.Step / 2)
		}
		if err := leaving.Up(); err != nil {
			return err
		}
		server.tell(leaving, staying, coming)
		back = leaving.asked(dnsPatience)
		return nil
	})
	r.bar(r.Seen.Failed == 0, "no failed request", "%d", r.Seen.Failed)
	r.bar(came, "a new endpoint gets traffic", "%t", came)
	r.bar(late == 0, "one that left gets none, after the time to live", "%d", late)
	r.bar(back, "and gets traffic when it is back, though DNS had failed", "%t", back)
	return r, err
}

// dnsPatience is how long it may take until DNS is asked again that has not answered.
const dnsPatience = 20 * time.Second
