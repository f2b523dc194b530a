package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-gateway/sluice/config/traffic"
	"github.com/sluice-gateway/sluice/unit"
)

// Document says everything that the data plane does. It is immutable: what did not
// change from one load to the next is shared by both documents.
type Document struct {
	Admin     *Admin
	Listeners []Item[Listener]
	Upstreams []Item[Upstream]
	Consumers []Item[Consumer]
	Policies  []Item[Policy]
	Routes    []Item[Route]
	Telemetry Telemetry
	Drain     Drain

	// Main is the file that was loaded; Files are all that were read, with it,
	// those that were included and those that references name, in order of name.
	Main  string
	Files []string
	// Hash is the SHA-256 of the configuration files in lower-case hex: of what was
	// written. What references stand for is no part of it, so it may be shown.
	Hash string

	watched map[string]string // Files and the patterns of includes, as they were when they were read
}

// Item is an entry of one of the document's lists. Value is shared by all documents
// in which the entry reads the same; the place belongs to this document alone.
type Item[T any] struct {
	Value *T
	src   *source
	base  int
}

// Node binds a value that was kept in the entry to its place in this document.
func (i Item[T]) Node(n Node) *Node {
	n.at = place{i.src, i.base}
	return &n
}

// Position is where a mark of the entry is in this document.
func (i Item[T]) Position(m Mark) Position {
	return place{i.src, i.base}.position(int(m.Line), int(m.Column))
}

// Problem makes a problem at a mark of the entry.
func (i Item[T]) Problem(m Mark, message string) *Problem {
	return place{i.src, i.base}.problem(int(m.Line), int(m.Column), message)
}

// Mark is a place within an entry, in lines and characters from 1. An Item turns
// it into a Position.
type Mark struct{ Line, Column int32 }

// Text is a string that knows where it stands.
type Text struct {
	Value string
	Mark  Mark
}

func (t Text) String() string { return t.Value }

// Keyed is the value of a key whose name is not fixed: the kind of a policy, of a
// target, of a credential. The compiler knows the kinds.
type Keyed struct {
	Kind     string
	Mark     Mark
	Settings Node
}

// layout is a file as it is written. Its lists are decoded entry by entry.
type layout struct {
	Version   version         `doc:"The version of the configuration language." default:"1" min:"1" max:"1"`
	Include   unit.List[Text] `doc:"Files whose entries join these, as patterns such as routes/*.yaml, relative to this file."`
	Admin     *Admin          `doc:"Where metrics, health and readiness are served; absent: nowhere."`
	Listeners []Listener      `doc:"Where clients connect."`
	Upstreams []Upstream      `doc:"The origins that requests are sent to."`
	Consumers []Consumer      `doc:"Who may call, and how they prove it."`
	Policies  []Policy        `doc:"Policies of every route; they come before the route's own."`
	Routes    []Route         `doc:"Which requests go where."`
	Telemetry *Telemetry      `doc:"What is told about the exchanges."`
	Drain     *Drain          `doc:"How exchanges are brought to their end."`
}

type version int

func (v *version) Validate() error {
	if *v != 1 {
		return problemf("version %d is not known here: this program reads version 1", *v)
	}
	return nil
}

// Admin is the listener for operators.
type Admin struct {
	Address unit.Address `required:"true" doc:"Where to listen, such as 127.0.0.1:9901."`
}

// Listener is where clients connect.
type Listener struct {
	Name            Text                    `required:"true" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" form:"a name of letters, digits, dots, hyphens and underscores that begins with a letter or a digit, at most 128 long" doc:"Its name, for routes, logs and metrics."`
	Address         unit.Address            `required:"true" doc:"Where to listen: host and port, or a port alone, such as :8080."`
	Protocols       unit.List[string]       `enum:"http/1.1,h2,h3" doc:"What it speaks; absent: HTTP/1.1, and with tls h2 too. Without TLS h2 is spoken with clients that begin with it (prior knowledge). h3 needs tls, is spoken over UDP at the same address, and is announced in the answers of the others."`
	TLS             *ListenerTLS            `yaml:"tls" doc:"The certificates with which it speaks TLS; absent: plain TCP."`
	TrustedProxies  unit.List[unit.Network] `doc:"The proxies in front of the gateway whose X-Forwarded-* fields and PROXY protocol are believed, as addresses or CIDR ranges."`
	ProxyProtocol   string                  `enum:"off,accept,require" default:"off" doc:"Whether trusted_proxies say with the PROXY protocol, version 1 or 2, whose connection it is: never; they may, and others are served as they are; they must, and others are closed."`
	EncodedSlash    string                  `enum:"reject,keep" default:"reject" doc:"What to do with %2F in a path: answer 400, or keep it, encoded, as a part of its segment. A backslash is always answered 400."`
	MergeSlashes    bool                    `default:"false" doc:"Whether several slashes in a row count as one."`
	Underscores     string                  `enum:"drop,keep" default:"drop" doc:"What to do with header fields whose name has an underscore: many origins cannot tell it from a hyphen."`
	Limits          ListenerLimits          `doc:"How much a client may send and hold."`
	Timeouts        ListenerTimeouts        `doc:"How long a client may take."`
	MinimumBodyRate unit.Size               `default:"100B" doc:"How many bytes a second of a request's body must arrive, on average, once half of timeouts.body has passed; 0B: any rate will do."`
}

// ListenerTLS says how a listener speaks TLS.
type ListenerTLS struct {
	Certificates       []CertificateFiles `max:"1000" doc:"Certificates with their keys; the one that fits the name a client asks for is shown, the first one to others. Several for one name (ECDSA and RSA) serve different clients."`
	ACME               *ACME              `yaml:"acme" doc:"Certificates that are had from an authority and renewed, for names that no file has."`
	SelfSigned         bool               `default:"false" doc:"Whether it makes a certificate itself, for localhost: for development."`
	Minimum            string             `enum:"1.2,1.3" default:"1.2" doc:"The lowest version of TLS."`
	UnknownNames       string             `enum:"default,refuse" default:"default" doc:"What clients get that ask for a name without a certificate: the first one, or an alert."`
	ClientCertificates ClientCertificates `doc:"Whether clients show certificates, too."`
}

func (t *ListenerTLS) Validate() error {
	if len(t.Certificates) == 0 && t.ACME == nil && !t.SelfSigned {
		return errors.New("tls needs certificates, acme, or self_signed: true")
	}
	return nil
}

// ACME says which certificates are had from an authority (RFC 8555).
type ACME struct {
	Domains         unit.List[string]    `max:"10000" doc:"The names; each gets its own certificate. Wildcards are not to be had this way."`
	OnDemand        *ACMEOnDemand        `doc:"Certificates for further names, had when a client comes for one; needs a rule that permits names."`
	Email           string               `doc:"Where the authority writes to."`
	Directory       string               `pattern:"^https://.+" form:"a URL that begins with https://" doc:"The URL of the authority's directory; absent: Let's Encrypt."`
	Authorities     string               `doc:"The file of the roots that the directory itself is believed by, in PEM form; absent: those of the system."`
	ExternalAccount *ACMEExternalAccount `doc:"The account at the authority that this one belongs to, where the authority asks for one."`
	Issuers         []ACMEIssuer         `max:"10" doc:"Several authorities, in the place of directory: they are asked in turn until one gives the certificate."`
	Challenges      unit.List[string]    `enum:"http-01,tls-alpn-01" default:"[http-01, tls-alpn-01]" min:"1" doc:"How the gateway proves that a name is its own: over port 80, or in the handshake at port 443."`
	Storage         string               `default:"certificates" min:"1" doc:"The folder for certificates, keys and accounts, relative to the main file; several gateways may share it."`
}

// ACMEIssuer is one of several authorities.
type ACMEIssuer struct {
	Directory       string               `required:"true" pattern:"^https://.+" form:"a URL that begins with https://" doc:"The URL of its directory."`
	Email           string               `doc:"Where it writes to; absent: the email above."`
	Authorities     string               `doc:"The file of the roots that the directory itself is believed by, in PEM form; absent: those of the system."`
	ExternalAccount *ACMEExternalAccount `doc:"The account at the authority that this one belongs to."`
}

// ACMEExternalAccount is an account that an authority knows (RFC 8555 §7.3.4).
type ACMEExternalAccount struct {
	KeyID  string      `required:"true" min:"1" doc:"Its key identifier."`
	MACKey unit.Secret `required:"true" doc:"Its MAC key, in the URL form of base64, such as ${env:ACME_MAC_KEY}."`
}

// ACMEOnDemand permits names that are not in domains.
type ACMEOnDemand struct {
	Ask          string            `pattern:"^https?://.+" form:"a URL that begins with http:// or https://" doc:"A URL that is asked with the query domain=NAME: 200 permits the name. A refusal is remembered for a minute."`
	Domains      unit.List[string] `max:"10000" doc:"The names that are permitted; *.shops.example.com is any name below it. With ask, both must permit a name."`
	Certificates int               `default:"30" min:"1" max:"100000" doc:"How many new certificates are asked for in this time at most; clients that come for more are served as if the name were not permitted."`
	Per          unit.Duration     `default:"1h" min:"1s" max:"30d" doc:"The time."`
}

func (a *ACME) Validate() error {
	if len(a.Domains) == 0 && a.OnDemand == nil {
		return errors.New("acme needs domains, the names that certificates are for; or on_demand")
	}
	if len(a.Issuers) > 0 && (a.Directory != "" || a.Authorities != "" || a.ExternalAccount != nil) {
		return unit.At("issuers", errors.New("write the authority here, or its directory, authorities and external_account above, not both"))
	}
	return nil
}

func (o *ACMEOnDemand) Validate() error {
	if o.Ask == "" && len(o.Domains) == 0 {
		return errors.New("on_demand needs a rule, ask or domains: without one anybody could make this gateway ask for certificates for any name")
	}
	return nil
}

// CertificateFiles is a certificate and its key, in PEM form.
type CertificateFiles struct {
	Certificate string `required:"true" min:"1" doc:"The file of the certificate and those that lead to its authority, relative to the main file."`
	Key         string `required:"true" min:"1" doc:"The file of the private key, relative to the main file."`
}

// ClientCertificates says which certificates of clients are asked for and believed.
type ClientCertificates struct {
	Mode        string `enum:"off,request,require" default:"off" doc:"Whether a client is asked for a certificate, or let in with one only."`
	Authorities string `doc:"The file of the authorities that are believed, in PEM form, relative to the main file."`
}

func (c *ClientCertificates) Validate() error {
	if c.Mode == "require" && c.Authorities == "" {
		return errors.New("mode: require needs authorities: who may issue the certificates of clients")
	}
	return nil
}

// ListenerLimits bound what one client can use up.
type ListenerLimits struct {
	RequestLine           unit.Size `default:"8KiB" min:"256B" max:"1MiB" doc:"The longest request line, in HTTP/2 and HTTP/3 the longest path with its query; a longer one is answered 414."`
	HeaderBytes           unit.Size `default:"32KiB" min:"1KiB" max:"1MiB" doc:"The size of all header fields together; more is answered 431."`
	HeaderFields          int       `default:"100" min:"1" max:"10000" doc:"The number of header fields; more are answered 431."`
	TrailerBytes          unit.Size `default:"8KiB" min:"0B" max:"1MiB" doc:"The size of all trailer fields together."`
	ChunkExtension        unit.Size `default:"256B" min:"0B" max:"64KiB" doc:"The longest extension of one chunk; extensions are dropped."`
	Connections           int       `default:"20000" min:"1" doc:"The connections that may be open at once; one more is answered 503 and closed."`
	RequestsPerConnection int       `default:"0" min:"0" doc:"After how many requests a connection is closed; 0: never."`
}

// ListenerTimeouts bound how long one client can hold what it uses.
type ListenerTimeouts struct {
	Head  unit.Duration `default:"10s" min:"1ms" max:"1h" doc:"The time for a request's whole head; then it is answered 408."`
	Idle  unit.Duration `default:"60s" min:"1ms" max:"1d" doc:"How long a connection may wait for its next request."`
	Body  unit.Duration `default:"30s" min:"1ms" max:"1h" doc:"The longest wait between two parts of a request's body."`
	Write unit.Duration `default:"30s" min:"1ms" max:"1h" doc:"The longest wait for a client to take more of the answer."`
}

// Upstream is a group of origins that serve the same.
type Upstream struct {
	Name           Text                        `required:"true" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" form:"a name of letters, digits, dots, hyphens and underscores that begins with a letter or a digit, at most 128 long" doc:"Its name, for routes, logs and metrics."`
	Endpoints      unit.List[traffic.Endpoint] `min:"1" max:"10000" doc:"The origins. Either these or discovery."`
	Discovery      *traffic.Discovery          `doc:"Who tells the endpoints, instead of a list of them."`
	Members        []Member                    `min:"1" max:"32" doc:"Other upstreams of which this one is made, instead of endpoints: regions, say. Each member has its own settings; here stand name, members, failover, timeouts.request and timeouts.deadline_header."`
	Failover       traffic.Failover            `doc:"When a member is left because it is ill, and how it comes back."`
	Protocol       string                      `enum:"http/1.1,h2,auto" default:"http/1.1" doc:"What the origins speak; h2 without TLS is spoken with prior knowledge; auto is what each https endpoint agrees on (ALPN), and http/1.1 with the others."`
	TLS            UpstreamTLS                 `yaml:"tls" doc:"How https endpoints are spoken to, and whom to believe."`
	Balance        traffic.Balance             `default:"round_robin" doc:"How an endpoint is chosen: a word, or a mapping where there is more to say."`
	Zone           *traffic.Zone               `doc:"Which endpoints are near; absent: zones make no difference."`
	PanicThreshold unit.Share                  `default:"20%" doc:"When fewer of the endpoints are well than this share, all are used: probably it is not they who are ill."`
	SlowStart      unit.Duration               `default:"0s" max:"1h" doc:"How long an endpoint that is new, or well again, is spared: its share grows from a tenth to the whole; 0s: not at all."`
	Timeouts       traffic.Timeouts            `doc:"How long the origins may take."`
	Retry          traffic.Retry               `doc:"When another endpoint is asked."`
	Health         *traffic.Health             `doc:"How endpoints are asked whether they are well; absent: they are not asked."`
	Ejection       *traffic.Ejection           `doc:"Which endpoints are taken out because of how they answer; absent: none."`
	Breaker        *traffic.Breaker            `doc:"When nobody is asked any more for a while; absent: never."`
	Concurrency    *traffic.Concurrency        `doc:"How many requests may wait for an answer at one time; absent: as many as come."`
	Connections    traffic.Connections         `doc:"How many connections are held."`
	ProxyProtocol  string                      `enum:"off,v1,v2" default:"off" doc:"Whether each connection begins with a PROXY protocol header that says whose it is. Then connections are not shared between clients."`
	Limits         UpstreamLimits              `doc:"How much an origin may send."`
}

// Member is an upstream that is a part of another one.
type Member struct {
	Upstream Text `required:"true" doc:"The name of an upstream. It may have members itself, four deep."`
	traffic.Member
}

// UpstreamTLS says how TLS is spoken to origins.
type UpstreamTLS struct {
	Authorities        string            `doc:"The file of the authorities that are believed, in PEM form, relative to the main file; absent: those of the system."`
	ServerName         string            `doc:"The name that is asked for and that the certificate must be for; absent: the endpoint's host."`
	Certificate        string            `doc:"The file of the certificate that the gateway shows, with those that lead to its authority."`
	Key                string            `doc:"The file of its private key."`
	Names              unit.List[string] `max:"100" doc:"Names of which the certificate must have one, instead of the server name: hosts, or URIs such as spiffe://…"`
	Pins               unit.List[string] `max:"100" doc:"SHA-256 of public keys, one of which must be in the chain: sha256/ and base64."`
	InsecureSkipVerify bool              `default:"false" doc:"Believes every certificate: whoever is in between can read and change everything. It is logged."`
}

// UpstreamLimits bound what an origin can make the gateway hold.
type UpstreamLimits struct {
	HeaderBytes unit.Size `default:"64KiB" min:"1KiB" max:"1MiB" doc:"The size of all header fields of an answer together; more is answered 502. Over HTTP/2 also that of its trailer fields."`
}

// Consumer is somebody who calls.
type Consumer struct {
	Name        Text         `required:"true" pattern:"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$" form:"a name of letters, digits and . _ @ - that begins with a letter or a digit, at most 128 long" doc:"Its name, which origins and logs are told."`
	Groups      []Text       `max:"100" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" form:"a name of letters, digits, dots, hyphens and underscores that begins with a letter or a digit, at most 128 long" doc:"The groups that it belongs to."`
	Credentials []Credential `doc:"How it proves who it is: each names the policy that checks it."`
}

// Credential is one way to prove who somebody is, under the name of the policy that
// checks it. It has exactly one kind.
type Credential struct {
	Kinds []Keyed `yaml:",rest"`
}

// Policy is a policy where it is used. It has exactly one kind.
type Policy struct {
	Kinds   []Keyed `yaml:",rest"`
	OnFault Text    `enum:"allow,deny" doc:"What happens when the policy cannot decide: the request passes, or is refused. Each kind has its own default."`
}

// Route says which requests go where. It has exactly one target.
type Route struct {
	Name     Text     `pattern:"^[A-Za-z0-9/][A-Za-z0-9._/*{}:-]{0,127}$" form:"a name of letters, digits and . _ / * { } : - that begins with a letter, a digit or a slash, at most 128 long" doc:"Its name, for logs and metrics; absent: made from its host and path."`
	Match    Match    `doc:"Which requests it takes; absent: all."`
	Policies []Policy `doc:"What happens to them on their way."`
	Upgrades []Text   `enum:"websocket" doc:"The protocols that a connection may switch to."`
	Priority int      `default:"2" min:"0" max:"3" doc:"Who is served first where an upstream has a queue (concurrency), and shed last: from 0, the most important, to 3. A consumer's group that has a priority there counts in its place."`
	Targets  []Keyed  `yaml:",rest"`

	derived bool // Name was not written
}

// Derived says that the route has no name of its own.
func (r *Route) Derived() bool { return r.derived }

// derive names a route by what it matches.
func (r *Route) derive(at Mark) {
	name := ""
	if len(r.Match.Host) > 0 {
		name = r.Match.Host[0].Value
	}
	if len(r.Match.Path) > 0 {
		name += r.Match.Path[0].Text
	}
	if name == "" {
		name = "everything"
	}
	r.Name, r.derived = Text{name, at}, true
}

// Validate is called by the decoder.
func (r *Route) Validate() error {
	if len(r.Targets) == 0 {
		return errors.New("this route has no target: add one, such as upstream: NAME")
	}
	return nil
}

// Validate is called by the decoder.
func (p *Policy) Validate() error {
	if len(p.Kinds) == 0 {
		return errors.New("no policy is named here: write its kind and its settings, such as {request_id: {}}")
	}
	return nil
}

// Validate is called by the decoder.
func (c *Credential) Validate() error {
	if len(c.Kinds) == 0 {
		return errors.New("no credential is named here: write the policy that checks it and its value")
	}
	return nil
}

// Validate is called by the decoder.
func (l *Listener) Validate() error {
	if (l.ProxyProtocol == "accept" || l.ProxyProtocol == "require") && len(l.TrustedProxies) == 0 {
		return unit.At("proxy_protocol", errors.New("nobody is trusted to speak the PROXY protocol: add the addresses of the proxies in front, such as trusted_proxies: [10.0.0.0/8]"))
	}
	return l.checkHTTP3()
}

// checkHTTP3 looks at what h3 needs: it is a part of TLS, is found through the other protocols, and has
// no PROXY protocol in front.
func (l *Listener) checkHTTP3() error {
	if !slices.Contains(l.Protocols, "h3") {
		return nil
	}
	switch {
	case l.TLS == nil:
		return unit.At("protocols", errors.New("h3 is spoken with TLS only: add tls with certificates"))
	case len(l.Protocols) == 1:
		return unit.At("protocols", errors.New("clients find h3 through an answer over TCP: add h2 or http/1.1"))
	case l.ProxyProtocol == "accept" || l.ProxyProtocol == "require":
		return unit.At("proxy_protocol", errors.New("h3 comes over UDP, where there is no PROXY protocol: clients would come past it; leave one of the two out"))
	}
	return nil
}

// Validate is called by the decoder.
func (u *Upstream) Validate() error {
	if err := u.checkSource(); err != nil {
		return err
	}
	if u.SlowStart > 0 && u.Balance.Chooses() == "consistent_hash" {
		return unit.At("slow_start", errors.New("with consistent_hash an endpoint has all its keys from its first moment: leave slow_start out, or choose another method"))
	}
	if (u.Protocol == "h2" || u.Protocol == "auto") && u.ProxyProtocol != "off" {
		return unit.At("proxy_protocol", errors.New("connections that speak h2 are shared by clients, and the PROXY protocol names one: use protocol: http/1.1"))
	}
	if (u.TLS.Certificate == "") != (u.TLS.Key == "") {
		return unit.At("tls", errors.New("certificate and key belong together: write both or neither"))
	}
	first := map[string]int{}
	for i, e := range u.Endpoints {
		if k, twice := first[e.URL.Address()]; twice {
			return unit.At(fmt.Sprintf("endpoints[%d]", i), fmt.Errorf("this endpoint is given before, as entry %d: a weight makes it take more", k+1))
		}
		first[e.URL.Address()] = i
	}
	return nil
}

// Match says which requests a route takes: those that meet all conditions.
type Match struct {
	Host     unit.List[Text]     `doc:"The host, such as api.example.com; *.example.com is any host below it."`
	Path     unit.List[Path]     `doc:"The path: /orders is exact, /users/{id} has a named segment, /orders/** takes all below."`
	Methods  unit.List[Text]     `pattern:"^[A-Z][A-Z0-9-]{0,31}$" form:"a method in capital letters, at most 32 long" doc:"The methods, in capital letters."`
	Headers  unit.Map[Condition] `doc:"What header fields must be."`
	Query    unit.Map[Condition] `doc:"What query parameters must be."`
	Listener unit.List[Text]     `doc:"The listeners that it came in by."`
}

// Telemetry says what is told about exchanges.
type Telemetry struct {
	AccessLog *AccessLog `doc:"One line for each exchange; absent: none."`
}

// AccessLog says where the access log goes.
type AccessLog struct {
	Path string `default:"stdout" pattern:"^(stdout|stderr|/.+)$" form:"stdout, stderr or an absolute path" doc:"stdout, stderr or the absolute path of a file."`
}

// Drain says how exchanges are brought to their end.
type Drain struct {
	Shutdown unit.Duration `default:"30s" max:"1h" doc:"How long running exchanges may take to end when the gateway stops."`
	Removed  unit.Duration `default:"1m" max:"1d" doc:"How long WebSockets go on whose route or upstream is not in the configuration any more; then they are told to go away."`
}
