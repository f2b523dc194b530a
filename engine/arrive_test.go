package engine

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/route"
)

// arrived serves a request from a peer and returns what the target got.
func (r *rig) arrived(t *testing.T, listener Listener, from string, vouched []string, fields ...string) (h *message.Header, client message.Client, scheme string, w *wire) {
	t.Helper()
	h = &message.Header{}
	s := r.snapshot(nil, on{path: "/**", target: func(x *message.Exchange) error {
		h.CopyFrom(&x.Request.Header)
		client, scheme = x.Client, x.Request.Scheme
		return hello(x)
	}})
	listener.Name = "web"
	s.Listeners, s.Vouched = []Listener{{Name: "other"}, listener}, vouched
	r.Swap(s)
	w = &wire{}
	x := r.exchange(w, "GET", "/", fields...)
	addr := netip.MustParseAddr(from)
	x.Client.Peer, x.Client.Address, x.Client.AddressText = netip.AddrPortFrom(addr, 1), addr, from
	r.Serve(x)
	return h, client, scheme, w
}

func TestForwardingFields(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	tests := map[string]struct {
		from    string
		fields  []string
		chain   string
		client  string
		proto   string // "" is http
		host    string // "" is api.example.com
		further map[string]string
	}{
		"nothing said":       {from: "192.0.2.1", chain: "192.0.2.1", client: "192.0.2.1"},
		"nothing from proxy": {from: "10.0.0.1", chain: "10.0.0.1", client: "10.0.0.1"},
		"stranger": {from: "192.0.2.1", chain: "192.0.2.1", client: "192.0.2.1",
			fields: []string{"X-Forwarded-For", "198.51.100.1", "x-forwarded-proto", "https", "X-FORWARDED-HOST", "evil.example",
				"X-Forwarded-Port", "443", "X-Forwarded-Server", "x", "X-Forwarded-Prefix", "/admin", "Forwarded", "for=198.51.100.1", "X-Real-Ip", "198.51.100.1"},
			further: map[string]string{"X-Forwarded-Port": "", "X-Forwarded-Server": "", "X-Forwarded-Prefix": "", "Forwarded": "", "X-Real-IP": ""}},
		"proxy": {from: "10.0.0.1", chain: "198.51.100.1, 10.0.0.1", client: "198.51.100.1", proto: "https", host: "shop.example.com",
			fields: []string{"X-Forwarded-For", "198.51.100.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example.com",
				"X-Forwarded-Port", "443", "Forwarded", "for=198.51.100.1", "X-Real-IP", "198.51.100.1"},
			further: map[string]string{"X-Forwarded-Port": "443", "Forwarded": "for=198.51.100.1, for=10.0.0.1;proto=http", "X-Real-IP": "198.51.100.1"}},
		"two proxies": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1, 10.0.0.2"},
			chain: "198.51.100.1, 10.0.0.2, 10.0.0.1", client: "198.51.100.1"},
		"two fields": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1", "Accept", "*/*", "X-Forwarded-For", "10.0.0.2"},
			chain: "198.51.100.1, 10.0.0.2, 10.0.0.1", client: "198.51.100.1"},
		"a client that lies to the proxy": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "10.9.9.9, 198.51.100.1"},
			chain: "10.9.9.9, 198.51.100.1, 10.0.0.1", client: "198.51.100.1"},
		"proxies only": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "10.0.0.3,10.0.0.2"},
			chain: "10.0.0.3,10.0.0.2, 10.0.0.1", client: "10.0.0.3"},
		"garbage": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1, unknown"},
			chain: "198.51.100.1, unknown, 10.0.0.1", client: "10.0.0.1"},
		"garbage behind a proxy": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1, <script>, 10.0.0.2"},
			chain: "198.51.100.1, <script>, 10.0.0.2, 10.0.0.1", client: "10.0.0.2"},
		"empty elements": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1, ,"},
			chain: "198.51.100.1, ,, 10.0.0.1", client: "10.0.0.1"},
		"commas only": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", ",,,"}, chain: ",,,, 10.0.0.1", client: "10.0.0.1"},
		"with port":   {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1:4711"}, chain: "198.51.100.1:4711, 10.0.0.1", client: "198.51.100.1"},
		"IPv6":        {from: "fd00::1", fields: []string{"X-Forwarded-For", "2001:db8::1"}, chain: "2001:db8::1, fd00::1", client: "2001:db8::1"},
		"IPv6 with port": {from: "fd00::1", fields: []string{"X-Forwarded-For", "[2001:db8::1]:4711", "Forwarded", "for=x"},
			chain: "[2001:db8::1]:4711, fd00::1", client: "2001:db8::1", further: map[string]string{"Forwarded": `for=x, for="[fd00::1]";proto=http`}},
		"mapped proxy": {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "198.51.100.1, ::ffff:10.0.0.2"},
			chain: "198.51.100.1, ::ffff:10.0.0.2, 10.0.0.1", client: "198.51.100.1"},
		"zone":                        {from: "10.0.0.1", fields: []string{"X-Forwarded-For", "fe80::1%eth0"}, chain: "fe80::1%eth0, 10.0.0.1", client: "fe80::1"},
		"odd scheme":                  {from: "10.0.0.1", fields: []string{"X-Forwarded-Proto", "https, http"}, chain: "10.0.0.1", client: "10.0.0.1"},
		"two schemes: the nearer one": {from: "10.0.0.1", fields: []string{"X-Forwarded-Proto", "http", "X-Forwarded-Proto", "https"}, chain: "10.0.0.1", client: "10.0.0.1", proto: "https"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, client, scheme, _ := newRig(t).arrived(t, Listener{TrustedProxies: trusted}, test.from, nil, test.fields...)
			if test.proto == "" {
				test.proto = "http"
			}
			if test.host == "" {
				test.host = "api.example.com"
			}
			want := map[string]string{"X-Forwarded-For": test.chain, "X-Forwarded-Proto": test.proto, "X-Forwarded-Host": test.host}
			for name, value := range test.further {
				want[name] = value
			}
			for name, value := range want {
				if h.Get(name) != value || value == "" && h.Has(name) || h.Count(name) > 1 {
					t.Errorf("%s: %q %d times, not %q", name, h.Get(name), h.Count(name), value)
				}
			}
			if client.Address != netip.MustParseAddr(test.client) || client.AddressText != test.client || client.Peer.Addr() != netip.MustParseAddr(test.from) {
				t.Errorf("the client is %v %s at %v", client.Address, client.AddressText, client.Peer)
			}
			if scheme != test.proto {
				t.Errorf("the scheme is %s", scheme)
			}
		})
	}
}

// TestUnknownListener is a connection that is older than the configuration, which has
// no such listener any more: nobody is trusted.
func TestUnknownListener(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.snapshot(nil, on{path: "/", target: hello})
	s.Listeners = nil
	r.Swap(s)
	_, x := r.get("/", "X-Forwarded-For", "198.51.100.1")
	if got := x.Request.Header.Get("X-Forwarded-For"); got != "192.0.2.9" || x.Response.Status != 200 {
		t.Errorf("%q, %d", got, x.Response.Status)
	}
}

// TestForgedNames tries every spelling under which an origin could read a name that
// only we may say.
func TestForgedNames(t *testing.T) {
	t.Parallel()
	names := []string{"X-Consumer-Name", "X-Consumer-Groups", "X-Scopes", "X_Team"}
	var forged []string
	for _, name := range names {
		for _, spell := range []func(string) string{
			strings.Clone, strings.ToLower, strings.ToUpper,
			func(s string) string { return strings.ReplaceAll(s, "-", "_") },
			func(s string) string { return strings.ReplaceAll(s, "_", "-") },
			func(s string) string { return strings.Replace(strings.ToLower(s), "-", "_", 1) },
		} {
			forged = append(forged, spell(name), "forged")
		}
	}
	ours := []string{"X-Forwarded_For", "X_Forwarded_Proto", "x_real_ip", "X-Real_IP", "x_forwarded-anything"}
	for _, name := range ours {
		forged = append(forged, name, "forged")
	}
	for _, keep := range []bool{false, true} {
		for _, from := range []string{"192.0.2.1", "10.0.0.1"} {
			listener := Listener{KeepUnderscores: keep, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			fields := append(append([]string{"Accept", "*/*"}, forged...), "My_Field", "mine", "X-Consumer-Names", "kept", "X-Scope", "kept")
			h, _, _, _ := newRig(t).arrived(t, listener, from, []string{"X-Scopes", "X_Team"}, fields...)
			for _, f := range h.Fields() {
				if f.Value == "forged" {
					t.Errorf("keep %t, from %s: %s came through", keep, from, f.Name)
				}
			}
			if h.Has("My_Field") != keep || h.Get("Accept") != "*/*" || h.Get("X-Consumer-Names") != "kept" || h.Get("X-Scope") != "kept" {
				t.Errorf("keep %t: %v", keep, h.Fields())
			}
		}
	}
}

func TestVia(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h, _, _, _ := r.arrived(t, Listener{}, "192.0.2.1", nil, "Via", "1.1 other-gateway")
	if h.Count("Via") != 2 || h.Values(nil, "Via")[0] != "1.1 other-gateway" || h.Values(nil, "Via")[1] != "1.1 "+r.name {
		t.Errorf("%q", h.Values(nil, "Via"))
	}
	for _, via := range []string{"1.1 " + r.name, "1.0 a, 1.1 " + r.name + " (comment), 1.1 b"} {
		_, _, _, w := r.arrived(t, Listener{}, "192.0.2.1", nil, "Via", "1.1 first", "via", via)
		if w.status != 508 || problemOf(t, w.body) != "loop_detected" {
			t.Errorf("%s: %d", via, w.status)
		}
	}
	old := r.exchange(&wire{}, "GET", "/")
	old.Request.Protocol = "HTTP/1.0"
	r.Serve(old)
	if got := old.Request.Header.Get("Via"); got != "1.0 "+r.name {
		t.Errorf("an HTTP/1.0 request has Via %q", got)
	}
	if newRig(t).name == r.name {
		t.Error("two gateways have one name")
	}
}

// TestPath: the normal form is matched and forwarded, and what has none is refused.
func TestPath(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"/a/../b": "/b", "/%61": "/a", "/a%2fb": "", "/%00": "", "*": "*", "/a//b": "/a//b", `/a\b`: "",
	} {
		r := newRig(t)
		var path string
		s := r.snapshot(nil, on{path: "/**", target: func(x *message.Exchange) error { path = x.Request.Path; return hello(x) }})
		r.Swap(s)
		w, x := r.get(raw)
		switch {
		case want == "" && (w.status != 400 || problemOf(t, w.body) != "bad_path"):
			t.Errorf("%s: %d %s", raw, w.status, w.body)
		case want != "" && want != "*" && path != want, x.Request.RawPath != raw:
			t.Errorf("%s became %s", raw, path)
		}
	}
	r := newRig(t)
	s := r.snapshot(nil, on{path: "/**", target: hello})
	s.Listeners[0].Normalize = route.NormalizeOptions{KeepEncodedSlash: true, MergeSlashes: true}
	r.Swap(s)
	if _, x := r.get("//a%2fb"); x.Request.Path != "/a%2Fb" {
		t.Errorf("the listener's options are not used: %s", x.Request.Path)
	}
}

// What explain is told is what a served request meets.
func TestArriveIsWhatIsServed(t *testing.T) {
	t.Parallel()
	fields := []string{"X-Forwarded-For", "198.51.100.1", "X_Forwarded_Host", "evil.example", "X_A", "1", "X-Plan", "gold", "X_Plan", "free",
		"X-Consumer-Name", "root", "X-Real-IP", "198.51.100.1", "Accept", "*/*", "X-Forwarded-Proto", "https", "X-Forwarded-Port", "443"}
	const spelling, vouched, untrusted, underscore = IgnoredSpelling, IgnoredVouched, IgnoredUntrusted, IgnoredUnderscore
	for _, c := range []struct {
		from string
		keep bool
		want map[string]Ignored
	}{
		{"192.0.2.1", false, map[string]Ignored{"X-Forwarded-For": untrusted, "X_Forwarded_Host": underscore, "X_A": underscore, "X-Plan": vouched,
			"X_Plan": underscore, "X-Consumer-Name": vouched, "X-Real-IP": untrusted, "X-Forwarded-Proto": untrusted, "X-Forwarded-Port": untrusted}},
		{"10.0.0.1", true, map[string]Ignored{"X_Forwarded_Host": spelling, "X-Plan": vouched, "X_Plan": vouched, "X-Consumer-Name": vouched}},
	} {
		r := newRig(t)
		listener := Listener{Name: "web", KeepUnderscores: c.keep, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		served, client, scheme, _ := r.arrived(t, listener, c.from, []string{"X-Plan"}, fields...)

		addr := netip.MustParseAddr(c.from)
		x := r.exchange(&wire{}, "GET", "/", fields...)
		x.Client.Listener = "web"
		x.Client.Peer, x.Client.Address, x.Client.AddressText = netip.AddrPortFrom(addr, 1), addr, c.from
		got := map[string]Ignored{}
		s := &Snapshot{Listeners: []Listener{listener}, Vouched: []string{"X-Plan"}}
		s.Arrive(x, func(name string, why Ignored) { got[name] = why })
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.from, got, c.want)
		}
		x.Request.Header.Del("Via") // It has the name of this process.
		served.Del("Via")
		if !slices.Equal(x.Request.Header.Fields(), served.Fields()) || x.Client.Address != client.Address || x.Request.Scheme != scheme {
			t.Errorf("%s: got\n%v %v %s, served\n%v %v %s", c.from, x.Request.Header.Fields(), x.Client.Address, x.Request.Scheme, served.Fields(), client.Address, scheme)
		}
	}
}
