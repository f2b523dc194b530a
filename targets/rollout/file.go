package rollout

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/target"
)

const (
	fileVersion = 1
	// largestFile is far above what is written.
	largestFile = 64 << 10
	// longestName is how much of a route's name stands in the name of its file.
	longestName = 180
)

// kept is what a file holds.
type kept struct {
	Version  int          `json:"version"`
	Route    string       `json:"route"`
	Identity string       `json:"identity"`
	State    canary.State `json:"state"`
}

// file is the state of one route's roll-out on disk. Of all processes the one that has
// its lock decides and writes; within a process it is the controller that was given it
// last. The lock is that of the kernel: it ends with the process, however that ends.
type file struct {
	path string

	mu     sync.Mutex
	locked *os.File
	owner  *controller
}

// statePath is where a route's state is. Two names never share a file.
func statePath(env *target.Env, c *Config) string {
	folder := env.File(c.Storage)
	name := strings.ReplaceAll(url.QueryEscape(env.Route), ".", "%2E")
	if len(name) > longestName {
		sum := sha256.Sum256([]byte(env.Route))
		name = name[:longestName] + "." + hex.EncodeToString(sum[:8])
	}
	return filepath.Join(folder, name+".json")
}

// openFile makes the folder and sees whether it can be written to.
func openFile(path string) (*file, error) {
	f := &file{path: path}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("the folder for the state of roll-outs cannot be made: %w; name one that the gateway may write to", err)
	}
	lock, err := f.openLock()
	if err != nil {
		return nil, fmt.Errorf("the folder for the state of roll-outs cannot be written to: %w; name one that the gateway may write to", err)
	}
	return f, lock.Close()
}

func (f *file) openLock() (*os.File, error) {
	return os.OpenFile(f.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
}

// give makes a controller the one that writes; the one before ends.
func (f *file) give(c *controller) {
	f.mu.Lock()
	before := f.owner
	f.owner = c
	f.mu.Unlock()
	if before != nil && before != c {
		before.leave()
	}
}

// lock takes the lock unless another process has it.
func (f *file) lock() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locked != nil {
		return true, nil
	}
	lock, err := f.openLock()
	if err != nil {
		return false, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return false, nil
		}
		return false, err
	}
	f.locked = lock
	return true, nil
}

// unlock lets another process have it.
func (f *file) unlock() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locked != nil {
		_ = f.locked.Close()
		f.locked = nil
	}
}

// load reads what is kept; nil is nothing.
func (f *file) load() (*kept, error) { return load(f.path) }

func load(path string) (*kept, error) {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	text, err := io.ReadAll(io.LimitReader(in, largestFile))
	if err != nil {
		return nil, err
	}
	k := &kept{}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(k); err != nil {
		return nil, fmt.Errorf("this is not what was written: %w", err)
	}
	if k.Version != fileVersion {
		return nil, fmt.Errorf("version %d is not known here", k.Version)
	}
	return k, nil
}

// save writes the state of its owner; another's is nobody's business any more. The file is
// there as a whole or not at all, also after a power failure.
func (f *file) save(c *controller, k *kept) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner != c || f.locked == nil {
		return nil
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	temporary := f.path + "." + rand.Text() + ".new"
	out, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(append(text, '\n'))
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(temporary, f.path)
	}
	if err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

// remove deletes the state, if it is its owner's.
func (f *file) remove(c *controller) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owner != c || f.locked == nil {
		return nil
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Close gives the lock back.
func (f *file) Close() error {
	f.unlock()
	return nil
}

// stateWords says how the roll-out of a plan stands, as far as the file knows.
func stateWords(path string, plan *canary.Plan) []string {
	k, err := load(path)
	switch {
	case err != nil:
		return []string{"its state cannot be read: " + err.Error()}
	case k == nil || k.Identity != plan.Identity():
		return []string{"it has not begun"}
	}
	s := &k.State
	text := fmt.Sprintf("it is %s, with %s of the requests on the new side", s.Status.Words(), canary.Percent(s.Share))
	if s.Status == canary.Running || s.Status == canary.Paused {
		text += fmt.Sprintf(", step %d of %d", s.Step+1, len(plan.Steps))
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return []string{text}
}
