package certificates

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
)

// Storage keeps automatic certificates, their keys and accounts. What the gateway
// instances of one site share is one Storage, or several that are the same place;
// its lock must exclude all of them.
type Storage = certmagic.Storage

// Folder is a Storage in a folder, that several processes on one machine, or on a
// file system with flock, may share. Its lock is that of the kernel: it excludes
// everybody, and ends with the process that holds it however that ends.
type Folder struct {
	root *os.Root
	held chan map[string]*os.File // a map with a lock around it
}

const (
	locksFolder = ".locks"
	// The pauses between two tries to take a lock that another has.
	firstTry = 20 * time.Millisecond
	lastTry  = time.Second
)

// OpenFolder opens a folder, and makes it where there is none.
func OpenFolder(name string) (*Folder, error) {
	if err := os.MkdirAll(name, 0o700); err != nil {
		return nil, fmt.Errorf("certificates: opening the folder for certificates: %w", err)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("certificates: opening the folder for certificates: %w", err)
	}
	if err := root.MkdirAll(locksFolder, 0o700); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("certificates: the folder for certificates is not writable: %w", err)
	}
	f := &Folder{root: root, held: make(chan map[string]*os.File, 1)}
	f.held <- map[string]*os.File{}
	return f, nil
}

// Close gives back the descriptor of the folder, and the locks that are held.
func (f *Folder) Close() error {
	held := <-f.held
	for _, lock := range held {
		_ = lock.Close()
	}
	clear(held)
	f.held <- held
	return f.root.Close()
}

// keyPath is the path of a key. os.Root keeps it inside the folder; names that
// begin with a dot are ours.
func keyPath(key string) (string, error) {
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return "", fmt.Errorf("certificates: %q is not a key of the storage", key)
		}
	}
	return key, nil
}

// Store implements Storage. The value is there as a whole or not at all, also after
// a power failure.
func (f *Folder) Store(_ context.Context, key string, value []byte) error {
	name, err := keyPath(key)
	if err != nil {
		return err
	}
	if err := f.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	temporary := path.Join(path.Dir(name), ".new-"+rand.Text())
	file, err := f.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.root.Remove(temporary) }() // It is gone where all went well.
	_, err = file.Write(value)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return f.root.Rename(temporary, name)
}

// Load implements Storage.
func (f *Folder) Load(_ context.Context, key string) ([]byte, error) {
	name, err := keyPath(key)
	if err != nil {
		return nil, err
	}
	return f.root.ReadFile(name)
}

// Delete implements Storage: a key that is not there is deleted.
func (f *Folder) Delete(_ context.Context, key string) error {
	name, err := keyPath(key)
	if err != nil {
		return err
	}
	return f.root.RemoveAll(name)
}

// Exists implements Storage.
func (f *Folder) Exists(_ context.Context, key string) bool {
	name, err := keyPath(key)
	if err != nil {
		return false
	}
	_, err = f.root.Stat(name)
	return err == nil
}

// List implements Storage.
func (f *Folder) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	start := "."
	if prefix != "" {
		name, err := keyPath(prefix)
		if err != nil {
			return nil, err
		}
		start = name
	}
	var keys []string
	err := fs.WalkDir(f.root.FS(), start, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == start {
			return nil
		}
		hidden := strings.HasPrefix(d.Name(), ".")
		if !hidden {
			keys = append(keys, name)
		}
		if d.IsDir() && (hidden || !recursive) {
			return fs.SkipDir
		}
		return nil
	})
	return keys, err
}

// Stat implements Storage.
func (f *Folder) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	name, err := keyPath(key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	info, err := f.root.Stat(name)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key, Modified: info.ModTime(), Size: info.Size(), IsTerminal: !info.IsDir()}, nil
}

// Lock implements Storage. It waits until the lock is had or ctx is done.
func (f *Folder) Lock(ctx context.Context, name string) error {
	pause := firstTry
	for {
		ok, err := f.TryLock(ctx, name)
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, lastTry)
	}
}

// TryLock takes a lock if nobody has it.
func (f *Folder) TryLock(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	file := lockFile(name)
	lock, err := f.root.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, fmt.Errorf("certificates: lock %s: %w", name, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return false, nil
		}
		return false, fmt.Errorf("certificates: lock %s: %w", name, err)
	}
	// The one before us may have removed the file between our opening and locking
	// it: then others lock another file of the same name.
	if !f.isStill(file, lock) {
		_ = lock.Close()
		return false, nil
	}
	held := <-f.held
	held[name] = lock
	f.held <- held
	return true, nil
}

func (f *Folder) isStill(file string, lock *os.File) bool {
	ours, err := lock.Stat()
	if err != nil {
		return false
	}
	theirs, err := f.root.Stat(file)
	return err == nil && os.SameFile(ours, theirs)
}

// lockFile is the file of a lock. Different names may share one: they wait for each
// other then.
func lockFile(name string) string {
	return path.Join(locksFolder, certmagic.StorageKeys.Safe(name)+".lock")
}

// Unlock implements Storage.
func (f *Folder) Unlock(_ context.Context, name string) error {
	held := <-f.held
	lock := held[name]
	delete(held, name)
	f.held <- held
	if lock == nil {
		return fmt.Errorf("certificates: lock %s is not held", name)
	}
	// Removed while it is locked, so that nobody else's file is removed.
	return errors.Join(f.root.Remove(lockFile(name)), lock.Close())
}

func (f *Folder) String() string { return "folder " + f.root.Name() }
