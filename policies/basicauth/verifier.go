package basicauth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// verifier checks passwords. bcrypt takes a tenth of a second of a core on purpose,
// so what was right once is remembered, and only so many checks run at once: those who
// guess cannot take all cores away from those who are known.
type verifier struct {
	salt  [32]byte
	slots chan struct{}
	known [knownShards]remembered
}

// knownShards is a power of two.
const knownShards = 16

// perGeneration is how many passwords one generation of one shard remembers.
const perGeneration = 512

// maxWait is how long a request waits for its check to begin.
const maxWait = 2 * time.Second

// remembered holds proofs of right passwords in two generations: when the young one is
// full it becomes the old one, and the old one is forgotten.
type remembered struct {
	mu         sync.RWMutex
	young, old map[proof]struct{}
}

// proof stands for a name, the hash that the configuration has for it, and a password
// that fits: a password that is changed in the configuration is not remembered any
// more. It is a hash under a salt that never leaves the process.
type proof [sha256.Size]byte

func newVerifier() *verifier {
	v := &verifier{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(v.salt[:]) // never fails: crypto/rand says so
	return v
}

// Close implements io.Closer for policy.Keep; there is nothing to close.
func (v *verifier) Close() error { return nil }

func (v *verifier) proof(u *user, password []byte) proof {
	var room [sha256.Size + sha256.Size + maxPassword]byte
	b := append(room[:0], v.salt[:]...)
	b = append(b, u.id[:]...)
	b = append(b, password...)
	return sha256.Sum256(b)
}

var errBusy = errors.New("basicauth: too many passwords are being checked")

// check says whether a password is the user's. The error says that it could not be
// found out in time.
func (v *verifier) check(u *user, password []byte) (bool, error) {
	p := v.proof(u, password)
	r := &v.known[p[0]%knownShards]
	if r.has(p) {
		return true, nil
	}
	return v.compare(u, p, r, append([]byte(nil), password...))
}

// compare is the slow way. The password is a copy, because bcrypt makes it escape.
func (v *verifier) compare(u *user, p proof, r *remembered, password []byte) (bool, error) {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case v.slots <- struct{}{}:
	case <-timer.C:
		return false, errBusy
	}
	defer func() { <-v.slots }()
	// Many requests of a client that has just started wait for the first of them.
	if r.has(p) {
		return true, nil
	}
	if bcrypt.CompareHashAndPassword(u.hash, password) != nil || u.consumer == nil {
		return false, nil
	}
	r.add(p)
	return true, nil
}

func (r *remembered) has(p proof) bool {
	r.mu.RLock()
	_, young := r.young[p]
	_, old := r.old[p]
	r.mu.RUnlock()
	if old && !young {
		r.add(p)
	}
	return young || old
}

func (r *remembered) add(p proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= perGeneration {
		r.young, r.old = map[proof]struct{}{}, r.young
	}
	r.young[p] = struct{}{}
}
