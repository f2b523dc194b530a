package certificates

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

func openFolder(t *testing.T, name string) *Folder {
	t.Helper()
	f, err := OpenFolder(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFolder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	name := filepath.Join(t.TempDir(), "a", "b")
	f := openFolder(t, name)
	if _, err := f.Load(ctx, "x/y"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := f.Stat(ctx, "x/y"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := f.List(ctx, "x", true); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for key, value := range map[string]string{"x/y": "1", "x/z/w": "2", "v": "3"} {
		if err := errors.Join(f.Store(ctx, key, []byte("before")), f.Store(ctx, key, []byte(value))); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(ctx, key); err != nil || string(got) != value {
			t.Errorf("%s: %q, %v", key, got, err)
		}
		if info, err := f.Stat(ctx, key); err != nil || info.Size != 1 || !info.IsTerminal || info.Key != key {
			t.Errorf("%s: %+v, %v", key, info, err)
		}
		if info, err := os.Stat(filepath.Join(name, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info.Mode(), err)
		}
	}
	if info, err := f.Stat(ctx, "x"); err != nil || info.IsTerminal {
		t.Errorf("%+v, %v", info, err)
	}
	for _, c := range []struct {
		prefix    string
		recursive bool
		want      []string
	}{
		{"", false, []string{"v", "x"}},
		{"", true, []string{"v", "x", "x/y", "x/z", "x/z/w"}},
		{"x", false, []string{"x/y", "x/z"}},
		{"x", true, []string{"x/y", "x/z", "x/z/w"}},
	} {
		got, err := f.List(ctx, c.prefix, c.recursive)
		if slices.Sort(got); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q %v: %q, %v", c.prefix, c.recursive, got, err)
		}
	}
	if !f.Exists(ctx, "x") || !f.Exists(ctx, "x/y") || f.Exists(ctx, "x/q") {
		t.Error("exists")
	}
	if err := errors.Join(f.Delete(ctx, "x"), f.Delete(ctx, "x"), f.Delete(ctx, "nothing/here")); err != nil || f.Exists(ctx, "x/z/w") {
		t.Error(err)
	}
	for _, key := range []string{"", "/etc/passwd", "../x", "a/../b", ".locks/x", "a//b", "a/.b"} {
		_, loaded := f.Load(ctx, key)
		if f.Store(ctx, key, nil) == nil || loaded == nil || f.Delete(ctx, key) == nil || f.Exists(ctx, key) {
			t.Errorf("%q is a key", key)
		}
	}
}

// Concurrent writers leave one whole value, and nothing else.
func TestFolderStoresWholes(t *testing.T) {
	t.Parallel()
	f := openFolder(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				value := slices.Repeat([]byte{byte('0' + i)}, 10_000)
				if err := f.Store(t.Context(), "k/v", value); err != nil {
					t.Error(err)
				}
				got, err := f.Load(t.Context(), "k/v")
				if err != nil || len(got) != len(value) || slices.Min(got) != slices.Max(got) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	if names, err := os.ReadDir(filepath.Join(f.root.Name(), "k")); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestLockExcludesOtherInstances(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := openFolder(t, dir), openFolder(t, dir)
	ctx := t.Context()
	if err := one.Lock(ctx, "issue_a.example.com"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*Folder{one, two} {
		if ok, err := f.TryLock(ctx, "issue_a.example.com"); ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if ok, err := two.TryLock(ctx, "issue_b.example.com"); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	short, cancel := context.WithCancel(ctx)
	waiting := make(chan error, 1)
	go func() { waiting <- two.Lock(short, "issue_a.example.com") }()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := two.Unlock(ctx, "issue_a.example.com"); err == nil {
		t.Error("gives back what it does not have")
	}
	go func() { waiting <- two.Lock(ctx, "issue_a.example.com") }()
	if err := errors.Join(one.Unlock(ctx, "issue_a.example.com"), <-waiting); err != nil {
		t.Fatal(err)
	}
	if ok, err := one.TryLock(ctx, "issue_a.example.com"); ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if err := errors.Join(two.Unlock(ctx, "issue_a.example.com"), two.Unlock(ctx, "issue_b.example.com")); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, locksFolder)); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// lockWorker is what a process of TestLockExcludesProcesses does: it adds one to a
// number in the storage, many times, each time with a read and a write that lose
// somebody's work unless the lock is a true one.
func lockWorker(f *Folder, rounds int) error {
	ctx := context.Background()
	for range rounds {
		if err := f.Lock(ctx, "number"); err != nil {
			return err
		}
		n := 0
		if old, err := f.Load(ctx, "number"); err == nil {
			n, _ = strconv.Atoi(string(old))
		}
		err := f.Store(ctx, "number", []byte(strconv.Itoa(n+1)))
		if err := errors.Join(err, f.Unlock(ctx, "number")); err != nil {
			return err
		}
	}
	return nil
}

const (
	workerFolder = "SLUICE_TEST_LOCK_FOLDER"
	workerHolds  = "SLUICE_TEST_LOCK_HOLD"
)

// TestMain is what each process of these tests begins with: the worker, or the tests.
func TestMain(m *testing.M) {
	if os.Getenv(obtainFolder) != "" {
		if err := obtainWorker(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	dir := os.Getenv(workerFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := OpenFolder(dir)
	if err == nil && os.Getenv(workerHolds) != "" {
		err = f.Lock(context.Background(), "held")
		fmt.Println("locked")
		time.Sleep(time.Minute) // It is killed before.
	}
	if err == nil {
		err = lockWorker(f, 25)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestLockExcludesProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const workers = 4
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), workerFolder+"="+dir)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if err := lockWorker(openFolder(t, dir), 25); err != nil {
		t.Error(err)
	}
	wg.Wait()
	got, err := openFolder(t, dir).Load(t.Context(), "number")
	if err != nil || string(got) != strconv.Itoa((workers+1)*25) {
		t.Errorf("%s of %d, %v", got, (workers+1)*25, err)
	}
}

// A process that is killed gives its lock back at once.
func TestLockOfAKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), workerFolder+"="+dir, workerHolds+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	f := openFolder(t, dir)
	if ok, err := f.TryLock(t.Context(), "held"); ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	if ok, err := f.TryLock(t.Context(), "held"); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
}
