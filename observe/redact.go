package observe

import (
	"maps"
	"slices"
	"strings"
)

// redacted stands in the access log for a value that nobody should read there.
const redacted = "***"

// credentialNames are the normalised names of query parameters whose values the
// access log never shows.
var credentialNames = map[string]bool{
	"accesskey": true, "accesstoken": true, "apikey": true, "apitoken": true, "assertion": true, "auth": true,
	"authorization": true, "authtoken": true, "bearer": true, "clientassertion": true, "clientsecret": true,
	"code": true, "codeverifier": true, "credential": true, "credentials": true, "csrf": true, "csrftoken": true,
	"devicecode": true, "idtoken": true, "jwt": true, "key": true, "nonce": true, "otp": true, "pass": true,
	"passcode": true, "passphrase": true, "passwd": true, "password": true, "pin": true, "privatekey": true,
	"pwd": true, "refreshtoken": true, "samlrequest": true, "samlresponse": true, "sas": true, "secret": true,
	"secretkey": true, "session": true, "sessionid": true, "sessiontoken": true, "sid": true, "sig": true,
	"sign": true, "signature": true, "state": true, "subscriptionkey": true, "ticket": true, "token": true,
	"xamzcredential": true, "xamzsecuritytoken": true, "xamzsignature": true, "xapikey": true,
	"xgoogcredential": true, "xgoogsignature": true,
}

// CredentialParameters lists the names of query parameters whose values the
// access log never shows, for the documentation. Names are compared in lower case,
// after percent-decoding, without any character that is no letter or digit; of a
// name with brackets or dots (user[password], user.password) the last part counts.
func CredentialParameters() []string { return slices.Sorted(maps.Keys(credentialNames)) }

// longestCredential is more than the length of any of CredentialParameters.
const longestCredential = 24

// appendQuery appends a query as JSON text, with the values of credential-like
// parameters replaced. A parameter ends at "&". Some origins let one end at ";"
// too, so names are looked for behind those as well, and a credential takes
// everything up to the next "&" with it.
func appendQuery(dst []byte, query string) []byte {
	written := 0
	name := 0 // where the name begins, or -1 inside a value
	for i := 0; i < len(query); i++ {
		switch query[i] {
		case '&', ';':
			name = i + 1
		case '=':
			if name < 0 || !credentialName(query[name:i]) {
				name = -1
				continue
			}
			dst = appendText(dst, query[written:i+1])
			dst = append(dst, redacted...)
			end := strings.IndexByte(query[i:], '&')
			if end < 0 {
				return dst
			}
			i += end
			written, name = i, i+1
		}
	}
	return appendText(dst, query[written:])
}

// nameBytes maps letters to lower case, digits to themselves, and what does not
// count in a name to 0.
var nameBytes = func() (t [256]byte) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = byte(c), byte(c)
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = byte(c)
	}
	return t
}()

// credentialName normalises a name and looks it up.
func credentialName(name string) bool {
	var room [longestCredential]byte
	n := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' && i+2 < len(name) {
			high, low := hexValue(name[i+1]), hexValue(name[i+2])
			if high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		if folded := nameBytes[c]; folded != 0 {
			if n < len(room) {
				room[n] = folded
			}
			n++
			continue
		}
		if c == '.' || c == '[' && i+1 < len(name) && name[i+1] != ']' {
			n = 0
		}
	}
	return n <= len(room) && credentialNames[string(room[:n])]
}

// hexValue is the value of a hex digit, or 16.
func hexValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// longestAuthority is more than a host and a port ever have, in bytes (RFC 1035 §2.3.4).
const longestAuthority = 300

// appendReferer appends the URL of a Referer field as JSON text: its query is
// redacted, and user information and fragment, which do not belong there (RFC 9110
// §10.1.3), are left out.
func appendReferer(dst []byte, referer string) []byte {
	referer, _, _ = strings.Cut(referer, "#")
	base, query, hasQuery := strings.Cut(referer, "?")
	if slashes := strings.Index(base, "//"); slashes >= 0 {
		authority := base[slashes+2:]
		if end := strings.IndexByte(authority, '/'); end >= 0 {
			authority = authority[:end]
		}
		at := strings.LastIndexByte(authority, '@')
		if at < 0 && len(authority) > longestAuthority {
			at = len(authority) // It was cut before its user information had ended.
		}
		if at >= 0 {
			dst = appendText(dst, base[:slashes+2])
			dst = append(dst, redacted...)
			base = base[slashes+2+at:]
		}
	}
	dst = appendText(dst, base)
	if hasQuery {
		dst = append(dst, '?')
		dst = appendQuery(dst, query)
	}
	return dst
}
