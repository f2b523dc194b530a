package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// SelfSigned is a certificate for development that nobody has issued: clients have
// to be told to trust it, or not to look.
type SelfSigned struct {
	Names  []string // of hosts, and IP addresses; none: localhost, 127.0.0.1 and ::1
	Folder string   // keeps it over a restart as self-signed.crt and .key; "" keeps it in memory
}

const (
	selfSignedLife = 90 * 24 * time.Hour
	// selfSignedLeft is what is left when a new one is made: before anybody is warned.
	selfSignedLeft   = 45 * 24 * time.Hour
	selfSignedSource = "self_signed"
	maxSelfNames     = 100
)

// watchedSelf is a self-signed certificate and what it was made for.
type watchedSelf struct {
	*pair
	spec SelfSigned
}

func (s SelfSigned) names() []string {
	if len(s.Names) == 0 {
		return []string{"localhost", "127.0.0.1", "::1"}
	}
	return s.Names
}

func (s SelfSigned) equal(o SelfSigned) bool {
	return s.Folder == o.Folder && slices.Equal(s.names(), o.names())
}

func checkSelf(s SelfSigned) []error {
	if len(s.Names) > maxSelfNames {
		return []error{fmt.Errorf("self_signed has %d names; at most %d are put into one certificate", len(s.Names), maxSelfNames)}
	}
	return nil
}

// openSelf takes over the certificate of before, or that of the folder, or makes one.
func openSelf(spec SelfSigned, before *watchedSelf, now time.Time) (*watchedSelf, error) {
	if err := errors.Join(checkSelf(spec)...); err != nil {
		return nil, err
	}
	if before != nil && before.spec.equal(spec) && before.leaf.NotAfter.Sub(now) > selfSignedLeft {
		return before, nil
	}
	if spec.Folder != "" {
		if p := storedSelf(spec, now); p != nil {
			return &watchedSelf{p, spec}, nil
		}
	}
	return makeSelf(spec, now)
}

func (s SelfSigned) files() Files {
	return Files{filepath.Join(s.Folder, "self-signed.crt"), filepath.Join(s.Folder, "self-signed.key")}
}

// storedSelf is the certificate in the folder, or nil where it is of no use: then
// another is written in its place.
func storedSelf(spec SelfSigned, now time.Time) *pair {
	p, _, err := loadPair(spec.files(), forServer, now)
	if err != nil || p.leaf.NotAfter.Sub(now) <= selfSignedLeft || !slices.Equal(writtenNames(p.leaf), canonicalNames(spec.names())) {
		return nil
	}
	p.source, p.managed = selfSignedSource, true
	return p
}

func canonicalNames(names []string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = n
		if ip := net.ParseIP(n); ip != nil {
			all[i] = ip.String()
		}
	}
	slices.Sort(all)
	return all
}

func writtenNames(c *x509.Certificate) []string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	slices.Sort(all)
	return all
}

func makeSelf(spec SelfSigned, now time.Time) (*watchedSelf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificates: making a self-signed certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("certificates: making a self-signed certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Sluice, self-signed", SerialNumber: serial.Text(16)},
		// Clocks of clients may be behind.
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(selfSignedLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range spec.names() {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificates: making a self-signed certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificates: making a self-signed certificate: %w", err)
	}
	if spec.Folder != "" {
		if err := storeSelf(spec.files(), der, key); err != nil {
			return nil, fmt.Errorf("certificates: keeping a self-signed certificate: %w", err)
		}
	}
	p := newPair(selfSignedSource, []*x509.Certificate{leaf}, key)
	p.managed = true
	return &watchedSelf{p, spec}, nil
}

func storeSelf(f Files, der []byte, key crypto.Signer) error {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.Key), 0o700); err != nil {
		return err
	}
	if err := writeWhole(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	return writeWhole(f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// writeWhole replaces a file so that nobody sees a part of it.
func writeWhole(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // It is gone where all went well.
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// refresh makes a new certificate where half of its life is over.
func (w *watchedSelf) refresh(now time.Time, logger *slog.Logger) *watchedSelf {
	if w.leaf.NotAfter.Sub(now) > selfSignedLeft {
		return w
	}
	next, err := makeSelf(w.spec, now)
	if err != nil {
		logger.Error("self-signed certificate not renewed", "error", err)
		return w
	}
	logger.Info("self-signed certificate renewed", "names", w.spec.names(), "not_after", next.leaf.NotAfter)
	return next
}
