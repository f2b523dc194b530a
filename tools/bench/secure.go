//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// The files of the certificate that all proxies show, in the folder of the fleet.
const (
	certificateFile = "c.pem"
	keyFile         = "c.key"
)

// makeCertificate makes an ECDSA P-256 certificate for loopback, signed by itself, and
// returns it and its key in PEM.
func makeCertificate(now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "bench.example.com"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(0, 1, 0), // Far enough for no warning.
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"bench.example.com"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), nil
}

// writeCertificate puts a new certificate where the proxies look for it.
func (b *bench) writeCertificate() error {
	certificate, key, err := makeCertificate(time.Now())
	if err != nil {
		return err
	}
	if _, err := b.fleet.file(certificateFile, string(certificate)); err != nil {
		return err
	}
	_, err = b.fleet.file(keyFile, string(key))
	return err
}

// nginxTLS names the suite that Sluice prefers: nginx would follow the client, and
// OpenSSL's clients ask for AES-256 first.
const nginxTLS = `  ssl_certificate ` + certificateFile + `;
  ssl_certificate_key ` + keyFile + `;
  ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
`

// startSecureNginx starts an nginx that speaks TLS; parameters are those of its
// listen directive, "ssl" or "ssl http2".
func (b *bench) startSecureNginx(parameters string) (*contender, error) {
	// nginx looks for the files beside the file of its configuration.
	c, err := b.startNginxListening("nginx", " "+parameters, nginxTLS, "")
	if err != nil {
		return nil, err
	}
	c.secure()
	return c, nil
}

// secureListener is the tls setting of Sluice's listener.
const secureListener = `    tls: { certificates: [{ certificate: ` + certificateFile + `, key: ` + keyFile + ` }], minimum: "1.3" }
`

func (b *bench) startSecureSluice() (*contender, error) {
	g, err := b.newGateway("sluice")
	if err != nil {
		return nil, err
	}
	g.tls = secureListener
	c, err := b.startGateway(g, b.origin, bareRoute)
	if err != nil {
		return nil, err
	}
	c.secure()
	return c, nil
}

// secure lets the load speak TLS.
func (c *contender) secure() {
	c.load.url = strings.Replace(c.load.url, "http://", "https://", 1)
}

// startPair starts a Sluice and an nginx that show the same certificate.
func (b *bench) startPair(parameters string) (sluice, nginx *contender, err error) {
	if err := b.writeCertificate(); err != nil {
		return nil, nil, err
	}
	nginx, err = b.startSecureNginx(parameters)
	if err != nil {
		return nil, nil, err
	}
	sluice, err = b.startSecureSluice()
	return sluice, nginx, err
}

// overTLS compares plain proxying of what comes over TLS.
func (b *bench) overTLS() (section, error) {
	s := section{title: "TLS 1.3, HTTP/1.1, keep-alive, a 70-byte answer", head: compareHead()}
	sluice, nginx, err := b.startPair("ssl")
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, nginx}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		s.rows = append(s.rows, compareRow(c, nginx))
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	ratio := medianRatio(sluice.cpu(), nginx.cpu())
	s.judge(ratio <= 1.0, "at most 1.0 × nginx", "%.2f", ratio)
	s.noErrors(sluice)
	return s, nil
}

// overHTTP2 compares HTTP/2 over TLS with an origin that speaks HTTP/1.1.
func (b *bench) overHTTP2() (section, error) {
	s := section{
		title: fmt.Sprintf("HTTP/2 over TLS 1.3 to an HTTP/1.1 origin, 16 connections × %d requests, a 70-byte answer", streams),
		head:  []string{"", "CPU µs/request", "ratio to nginx", "requests/s", "mean ms", "longest ms", "errors"},
	}
	sluice, nginx, err := b.startPair("ssl http2")
	if err != nil {
		return s, err
	}
	caddy, err := b.startSecureCaddy("h1 h2")
	if err != nil {
		return s, err
	}
	all := []*contender{sluice, nginx, caddy}
	for _, c := range all {
		c.load.generate, c.load.connections, c.load.streams = runH2load, 16, streams
	}
	if err := b.alternate(all); err != nil {
		return s, err
	}
	for _, c := range all {
		mean, longest := c.slowness()
		s.add(c.name, microseconds(c.cpu()), times(medianRatio(c.cpu(), nginx.cpu())),
			fmt.Sprintf("%.0f", median(c.throughput())), milliseconds(mean), milliseconds(longest), fmt.Sprint(c.errors()))
		s.configs = append(s.configs, namedConfig{c.name, c.config})
	}
	ratio := medianRatio(sluice.cpu(), nginx.cpu())
	s.judge(ratio <= 1.15, "at most 1.15 × nginx", "%.2f", ratio)
	s.noErrors(sluice)
	return s, nil
}

// slowness is the median of the means, and the longest time of all turns.
func (c *contender) slowness() (mean, longest time.Duration) {
	var means []time.Duration
	for _, t := range c.turns {
		means = append(means, t.load.mean)
		longest = max(longest, t.load.longest)
	}
	return median(means), longest
}

// startSecureCaddy starts a Caddy that speaks TLS, and over it the protocols.
func (b *bench) startSecureCaddy(protocols string) (*contender, error) {
	address, err := b.fleet.freeAddress()
	if err != nil {
		return nil, err
	}
	config := `{
	admin off
	auto_https off
	log {
		level ERROR
	}
	servers {
		protocols ` + protocols + `
	}
}
https://` + address + ` {
	tls ` + certificateFile + ` ` + keyFile + ` {
		protocols tls1.3
	}
	reverse_proxy ` + b.origin + ` {
		transport http {
			keepalive 120s
			keepalive_idle_conns_per_host 128
		}
	}
}
`
	path, err := b.fleet.file("Caddyfile", config)
	if err != nil {
		return nil, err
	}
	c, err := b.contend("caddy", config, launch{
		name: "caddy", core: b.machine.cores.proxy, address: address,
		command: []string{"caddy", "run", "--config", path, "--adapter", "caddyfile"},
		env:     []string{"GOMAXPROCS=1"},
	})
	if err != nil {
		return nil, err
	}
	c.secure()
	return c, nil
}
