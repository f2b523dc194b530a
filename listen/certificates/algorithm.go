package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"slices"
)

// algorithm is what a client must be able to do for a certificate to be of use to
// it. tls.ClientHelloInfo.SupportsCertificate answers the same question, and is
// the twin of this in the tests, but allocates at each step.
type algorithm struct {
	rank      int // lower is served first
	curve     tls.CurveID
	schemes13 []tls.SignatureScheme
	schemes12 []tls.SignatureScheme
	suites12  []uint16
}

// The suites of TLS 1.2 that are offered: forward secrecy and AEAD. Those of TLS
// 1.3 are all of that kind, and cannot be chosen in crypto/tls.
var (
	suitesECDSA = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	suitesRSA = []uint16{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	suites = slices.Concat(suitesECDSA, suitesRSA)
)

// curves are the groups of the key exchange, the first is the best.
var curves = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}

var (
	schemesECDSA12 = []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512}
	schemesRSA13   = []tls.SignatureScheme{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512}
	schemesRSA12   = append(slices.Clone(schemesRSA13), tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512)
	schemesEd25519 = []tls.SignatureScheme{tls.Ed25519}
)

func algorithmOf(public crypto.PublicKey) algorithm {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		a := algorithm{schemes12: schemesECDSA12, suites12: suitesECDSA}
		switch key.Curve {
		case elliptic.P256():
			a.curve, a.schemes13 = tls.CurveP256, schemesECDSA12[:1]
		case elliptic.P384():
			a.curve, a.schemes13 = tls.CurveP384, schemesECDSA12[1:2]
		case elliptic.P521():
			a.curve, a.schemes13 = tls.CurveP521, schemesECDSA12[2:]
		}
		return a
	case ed25519.PublicKey:
		return algorithm{rank: 1, schemes12: schemesEd25519, schemes13: schemesEd25519, suites12: suitesECDSA}
	}
	return algorithm{rank: 2, schemes12: schemesRSA12, schemes13: schemesRSA13, suites12: suitesRSA}
}

// suits says whether the client that says hello can use the certificate.
func (a *algorithm) suits(hello *tls.ClientHelloInfo) bool {
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		return common(hello.SignatureSchemes, a.schemes13) // RFC 8446 §4.2.3
	}
	if !common(hello.SignatureSchemes, a.schemes12) || !common(hello.CipherSuites, a.suites12) {
		return false
	}
	// RFC 8422 §5.1: the curve of an ECDSA certificate must be among the client's.
	if a.curve != 0 && (a.curve != tls.CurveP256 || !slices.Contains(hello.SupportedCurves, a.curve)) {
		return false
	}
	return common(hello.SupportedCurves, curves[1:])
}

func common[T comparable](theirs, ours []T) bool {
	for _, o := range ours {
		if slices.Contains(theirs, o) {
			return true
		}
	}
	return false
}
