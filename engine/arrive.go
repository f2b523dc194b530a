package engine

import (
	"net/netip"
	"strings"

	"github.com/sluice-gateway/sluice/internal/grpcweb"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/route"
)

// arrive makes of what a client sent what the rest of the gateway may believe:
// the path in its normal form, the client's address, and a header from which
// everything is gone that only we may say. It comes before anything is added. ignored,
// unless it is nil, is told of each field that is left out.
func (p *passage) arrive(ignored func(name string, why Ignored)) bool {
	x := p.x
	listener := p.snapshot.listener(x.Client.Listener)
	if listener == nil {
		listener = &Listener{Name: x.Client.Listener}
	}
	if !p.normalize(listener) {
		return false
	}
	forwarded := p.sift(listener, ignored)
	if forwarded.looped {
		x.Deny(message.LoopDetected)
		return false
	}
	p.vouch(listener, forwarded)
	return true
}

// Arrive makes of x what its arrival in a running gateway makes of it, for those who explain
// what would happen; afterwards x has a problem if it goes no further. ignored is told of each field
// that is left out.
func (s *Snapshot) Arrive(x *message.Exchange, ignored func(name string, why Ignored)) {
	// What Swap adds to a snapshot is not there yet.
	seen := &Snapshot{Listeners: s.Listeners, vouched: newVouchedNames(s.Vouched)}
	p := passage{engine: &Engine{name: "sluice-explained"}, snapshot: seen, x: x}
	p.arrive(ignored)
}

// Ignored is why a field of a request goes no further.
type Ignored uint8

const (
	kept Ignored = iota
	// IgnoredUnderscore is for names with '_', which the listener drops.
	IgnoredUnderscore
	// IgnoredSpelling is for those that origins take for a field of a proxy, whoever sends them.
	IgnoredSpelling
	// IgnoredVouched is for names under which only the gateway speaks.
	IgnoredVouched
	// IgnoredUntrusted is for what only trusted proxies may say.
	IgnoredUntrusted
	// believed is for what a trusted proxy said: it is said anew.
	believed
)

// grpcCall is how the client wants to hear of a refusal, whatever policies have made of
// its request since.
func (p *passage) grpcCall() call {
	if !p.arrived {
		return newCall(&p.x.Request, p.x.Request.Header.Get("Content-Type"))
	}
	return newCall(&p.x.Request, p.contentType)
}

// answerChallenge answers an authority that asks, at the one place where it may, whether
// a name is ours (RFC 8555 §8.3). Policies have no say in it.
func (p *passage) answerChallenge() bool {
	x, answers := p.x, p.engine.challenge
	if answers == nil || len(x.Request.Path) < 2 || x.Request.Path[1] != '.' || x.Request.Method != "GET" {
		return false
	}
	answer, ok := answers(x.Request.Host(), x.Request.Path)
	if !ok {
		return false
	}
	x.Response.Status = 200
	x.Response.Header.Append("Content-Type", "application/octet-stream")
	x.Response.SetBody([]byte(answer))
	return true
}

func (p *passage) normalize(listener *Listener) bool {
	req := &p.x.Request
	if req.RawPath == "*" {
		req.Path = "*"
		return true
	}
	path, err := route.Normalize(req.RawPath, listener.Normalize)
	if err != nil {
		p.x.Deny(message.BadPath.WithDetail(err.Error()))
		return false
	}
	req.Path = path
	return true
}

// forwarded is what proxies before us said about the client.
type forwarded struct {
	trusted bool
	looped  bool
	chain   string // X-Forwarded-For, joined
	hops    string // Forwarded, joined
	proto   string
	host    string
}

// sift removes the fields that a client may not set, in one pass: names with '_'
// (to many origins '_' and '-' are the same), names under which we vouch for
// somebody, and what only a trusted proxy may say.
func (p *passage) sift(listener *Listener, ignored func(name string, why Ignored)) (f forwarded) {
	x := p.x
	f.trusted = trusts(listener.TrustedProxies, x.Client.Peer.Addr())
	p.arrived = true
	fields := x.Request.Header.Fields()
	stay := 0
	for i := range fields {
		if why := p.weigh(&fields[i], listener, &f); why != kept {
			if ignored != nil && why != believed {
				ignored(fields[i].Name, why)
			}
			continue
		}
		if stay != i {
			fields[stay] = fields[i]
		}
		stay++
	}
	if stay != len(fields) {
		x.Request.Header.Truncate(stay)
	}
	return f
}

// weigh says whether a field is kept, and takes what f needs of it.
func (p *passage) weigh(field *message.Field, listener *Listener, f *forwarded) Ignored {
	name := field.Name
	if strings.IndexByte(name, '_') >= 0 {
		if !listener.KeepUnderscores {
			return IgnoredUnderscore
		}
		if saysWhoCalls(name) {
			return IgnoredSpelling
		}
	}
	if p.snapshot.vouched.has(name) {
		return IgnoredVouched
	}
	switch len(name) {
	case 3:
		if message.EqualFold(name, "Via") && strings.Contains(field.Value, p.engine.name) {
			f.looped = true
		}
	case 9:
		if message.EqualFold(name, "Forwarded") {
			f.join(&f.hops, field.Value)
			return f.said()
		}
		if message.EqualFold(name, "X-Real-IP") {
			return f.passed()
		}
	case 12:
		if p.contentType == "" && grpcweb.Begins(field.Value) && message.EqualFold(name, "Content-Type") {
			p.contentType = field.Value
		}
	case 15:
		if message.EqualFold(name, "X-Forwarded-For") {
			f.join(&f.chain, field.Value)
			return f.said()
		}
	case 16:
		if message.EqualFold(name, "X-Forwarded-Host") {
			f.host = field.Value
			return f.said()
		}
	case 17:
		if message.EqualFold(name, "X-Forwarded-Proto") {
			f.proto = field.Value
			return f.said()
		}
	}
	// Whatever else begins like this is believed by some origin.
	if len(name) > 12 && (name[0]|0x20) == 'x' && name[1] == '-' && message.EqualFold(name[:12], "X-Forwarded-") {
		return f.passed()
	}
	return kept
}

// said is for a field that vouch writes anew with what a trusted proxy said.
func (f *forwarded) said() Ignored {
	if f.trusted {
		return believed
	}
	return IgnoredUntrusted
}

// passed is for a field that goes on as a trusted proxy has sent it.
func (f *forwarded) passed() Ignored {
	if f.trusted {
		return kept
	}
	return IgnoredUntrusted
}

// join adds a list to what a trusted proxy said before, in the same field.
func (f *forwarded) join(list *string, more string) {
	switch {
	case !f.trusted:
	case *list == "":
		*list = more
	default:
		*list += ", " + more
	}
}

// saysWhoCalls says whether an origin to which '_' is '-' would take a name for one
// of the fields that only a proxy may set. Not even one that we trust writes them so.
func saysWhoCalls(name string) bool {
	const prefix = "x-forwarded-"
	return len(name) > len(prefix) && equalSpelling(name[:len(prefix)], prefix) || equalSpelling(name, "x-real-ip")
}

// vouch adds what the origin may believe: who the client is, how and under which
// name it reached us, and that the request went through us (RFC 9110 §7.6.3).
func (p *passage) vouch(listener *Listener, f forwarded) {
	x := p.x
	h := &x.Request.Header
	peer := x.Client.AddressText
	chain, proto, host := peer, x.Request.Scheme, x.Request.Authority
	if f.trusted {
		if f.hops != "" {
			h.Append("Forwarded", f.hops+", "+hop(x))
		}
		if f.chain != "" {
			chain = f.chain + ", " + peer
			p.believe(listener, f.chain)
		}
		if f.proto == "http" || f.proto == "https" {
			proto, x.Request.Scheme = f.proto, f.proto
		}
		if f.host != "" {
			host = f.host
		}
	}
	if chain != "" { // A peer on a Unix socket has no address.
		h.Append("X-Forwarded-For", chain)
	}
	h.Append("X-Forwarded-Proto", proto)
	if host != "" {
		h.Append("X-Forwarded-Host", host)
	}
	via := p.engine.via11
	switch x.Request.Protocol {
	case "HTTP/1.0":
		via = p.engine.via10
	case "HTTP/2":
		via = p.engine.via20
	case "HTTP/3":
		via = p.engine.via30
	}
	h.Append("Via", via)
}

// believe takes the client's address from a chain that a trusted proxy sent: the last
// one that is not itself a trusted proxy. What stands before that, the client
// may have written.
func (p *passage) believe(listener *Listener, chain string) {
	x := p.x
	for chain != "" {
		cut := strings.LastIndexByte(chain, ',')
		addr, ok := parseHop(message.TrimOWS(chain[cut+1:]))
		if !ok {
			return
		}
		x.Client.Address, x.Client.AddressText = addr, addr.String()
		if cut < 0 || !trusts(listener.TrustedProxies, addr) {
			return
		}
		chain = chain[:cut]
	}
}

// parseHop takes an address, also one with a port: some proxies add it.
func parseHop(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}

// hop is our element of Forwarded (RFC 7239 §4): who asked us, and how.
func hop(x *message.Exchange) string {
	peer := x.Client.AddressText
	switch {
	case peer == "":
		peer = "unknown"
	case strings.IndexByte(peer, ':') >= 0:
		peer = `"[` + peer + `]"`
	}
	return "for=" + peer + ";proto=" + x.Request.Scheme
}

func trusts(proxies []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range proxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
