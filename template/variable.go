package template

import "strings"

// variable is what a template can speak of.
type variable uint8

const (
	none variable = iota
	clientAddress
	certificateSubject
	certificateIssuer
	certificateNames
	certificateSerial
	certificateFingerprint
	certificateNotAfter
	tlsVersion
	tlsCipher
	tlsServerName
	listener
	requestID
	requestMethod
	requestScheme
	requestHost
	requestAuthority
	requestPath
	requestQuery
	requestHeader
	requestQueryValue
	requestCookie
	pathParam
	consumerName
	consumerGroups
	routeName
	upstreamName
	endpoint
	responseStatus
	responseHeader
)

// entry describes one variable. A name that ends in a dot takes another name
// behind it.
type entry struct {
	name     string
	variable variable
	answered bool // known only once the answer is there
	about    string
}

// catalogue is every variable, in the order of the documentation.
var catalogue = [...]entry{
	{"client.address", clientAddress, false, "The client's address, after trusted proxies."},
	{"client.certificate.subject", certificateSubject, false, "Whom the client's certificate is for, such as `CN=orders,O=Example`. (2)"},
	{"client.certificate.issuer", certificateIssuer, false, "Who issued it. (2)"},
	{"client.certificate.names", certificateNames, false, "Its alternative names with their kinds, joined by `,`: `DNS:a.example.com,URI:spiffe://example.com/a,email:a@example.com`. (2)"},
	{"client.certificate.serial", certificateSerial, false, "Its serial number in hexadecimal. (2)"},
	{"client.certificate.fingerprint", certificateFingerprint, false, "Its SHA-256 in hexadecimal. (2)"},
	{"client.certificate.not_after", certificateNotAfter, false, "When it ends, as `2027-01-31T12:00:00Z`. (2)"},
	{"tls.version", tlsVersion, false, "The version of TLS, such as `TLS 1.3`; empty without TLS."},
	{"tls.cipher", tlsCipher, false, "The cipher suite, such as `TLS_AES_128_GCM_SHA256`."},
	{"tls.server_name", tlsServerName, false, "The name that the client asked for in the handshake (SNI)."},
	{"listener", listener, false, "The name of the listener."},
	{"request.id", requestID, false, "The id of the request."},
	{"request.method", requestMethod, false, "The method."},
	{"request.scheme", requestScheme, false, "`http` or `https`."},
	{"request.host", requestHost, false, "The host without its port."},
	{"request.authority", requestAuthority, false, "The host, with its port if one was given."},
	{"request.path", requestPath, false, "The normalised path, still percent-encoded."},
	{"request.query", requestQuery, false, "The query without `?`, as it was sent."},
	{"request.header.", requestHeader, false, "A header field; several are joined by `, `."},
	{"request.query.", requestQueryValue, false, "The first query parameter of this name, decoded."},
	{"request.cookie.", requestCookie, false, "The first cookie of this name."},
	{"path.", pathParam, false, "A named part of the route's path, still percent-encoded."},
	{"consumer.name", consumerName, false, "Who is calling."},
	{"consumer.groups", consumerGroups, false, "The caller's groups, joined by `,`."},
	{"route", routeName, false, "The name of the route."},
	{"upstream", upstreamName, true, "The upstream that was asked."},
	{"endpoint", endpoint, true, "The endpoint that was asked."},
	{"response.status", responseStatus, true, "The status of the answer."},
	{"response.header.", responseHeader, true, "A header field of the answer."},
}

// takesName says whether another name stands behind this one.
func (e *entry) takesName() bool { return strings.HasSuffix(e.name, ".") }

// shown is the name as people write it.
func (e *entry) shown() string {
	if e.takesName() {
		return e.name + "NAME"
	}
	return e.name
}

// name is a variable as it was written.
func (v variable) name(behind string) string {
	for i := range catalogue {
		if e := &catalogue[i]; e.variable == v {
			if e.takesName() {
				return e.name + behind
			}
			return e.name
		}
	}
	return ""
}

// Documented is one row of the table of variables.
type Documented struct {
	Name, About string
	// Answered says that it has a value only once the answer is known.
	Answered bool
}

// All lists every variable for the documentation.
func All() []Documented {
	rows := make([]Documented, len(catalogue))
	for i := range catalogue {
		e := &catalogue[i]
		rows[i] = Documented{Name: e.shown(), About: e.about, Answered: e.answered}
	}
	return rows
}
