package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const small = "listeners: [{name: web, address: \":8080\"}]\nroutes:\n  - name: a\n    upstream: b\n"

// watching runs Watch under a clock that stands still until everybody waits.
type watching struct {
	t      *testing.T
	source *File
	mu     sync.Mutex // of docs and faults
	docs   []*Document
	faults []error
	cancel context.CancelFunc
	done   chan error
}

func watchFile(t *testing.T, path string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{t: t, source: NewFile(path), cancel: cancel, done: make(chan error, 1)}
	w.source.Failed = func(err error) { w.note(nil, err) }
	go func() { w.done <- w.source.Watch(ctx, func(d *Document) { w.note(d, nil) }) }()
	synctest.Wait()
	return w
}

func (w *watching) note(doc *Document, fault error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if doc != nil {
		w.docs = append(w.docs, doc)
	} else {
		w.faults = append(w.faults, fault)
	}
}

func (w *watching) counts() (docs, faults int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.docs), len(w.faults)
}

// pass lets time pass and says how many documents and faults came.
func (w *watching) pass(d time.Duration) (docs, faults int) {
	w.t.Helper()
	before, failed := w.counts()
	time.Sleep(d)
	synctest.Wait()
	docs, faults = w.counts()
	return docs - before, faults - failed
}

func (w *watching) expect(docs, faults int) {
	w.t.Helper()
	if d, f := w.pass(3 * every); d != docs || f != faults {
		w.t.Errorf("got %d documents and %d faults, want %d and %d: %v", d, f, docs, faults, w.faults)
	}
}

func (w *watching) last() *Document { return w.docs[len(w.docs)-1] }

func (w *watching) stop() {
	w.t.Helper()
	w.cancel()
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := write(t, folder, "sluice.yaml", small+"include: [more/*.yaml]\nadmin: {address: \"${file:address}\"}\n", "address", "127.0.0.1:1\n", "more/x.txt", "")
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		if len(w.docs) != 1 {
			t.Fatalf("got %d documents", len(w.docs))
		}
		w.expect(0, 0)

		write(t, folder, "address", "127.0.0.1:22\n")
		w.expect(1, 0)
		if got := w.last().Admin.Address.Port; got != 22 {
			t.Errorf("the referenced file is not read again: %d", got)
		}
		if w.docs[0].Routes[0].Value != w.last().Routes[0].Value {
			t.Error("the route was decoded again")
		}

		write(t, folder, "more/a.yaml", "routes:\n  - name: c\n    upstream: b\n")
		w.expect(1, 0)
		if len(w.last().Routes) != 2 {
			t.Errorf("got %d routes", len(w.last().Routes))
		}

		write(t, folder, "more/a.yaml", "routes:\n  - match: {pth: ccc}\n    upstream: b\n")
		w.expect(0, 1)
		w.stop()
	})
}

func TestWatchReportsAndRecovers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := write(t, folder, "sluice.yaml", small)
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		write(t, folder, "sluice.yaml", small+"nonsense: 1\n")
		w.expect(0, 1)
		var problems Problems
		if !errors.As(w.faults[0], &problems) || problems[0].Line != 5 {
			t.Errorf("got %v", w.faults[0])
		}
		w.expect(0, 0)
		write(t, folder, "sluice.yaml", small+"include: there.yaml\n")
		w.expect(0, 1)
		write(t, folder, "there.yaml", "version: 1\n")
		w.expect(1, 0)
		if got := strings.Join(w.last().Files, " "); got != path+" "+filepath.Join(folder, "there.yaml") {
			t.Errorf("got %s", got)
		}

		// Replaced, as editors do it.
		write(t, folder, "new", strings.Replace(small, "name: a", "name: bb", 1))
		if err := os.Rename(filepath.Join(folder, "new"), path); err != nil {
			t.Fatal(err)
		}
		w.expect(1, 0)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		w.expect(0, 1)
		w.stop()
	})
}

func TestWatchWaitsForWriters(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := write(t, folder, "sluice.yaml", small)
	synctest.Test(t, func(t *testing.T) {
		w := watchFile(t, path)
		time.Sleep(every / 2)
		text := small
		for range 5 {
			text += "# more\n"
			write(t, folder, "sluice.yaml", text)
			if docs, _ := w.pass(every); docs != 0 {
				t.Error("a file that is being written was loaded")
			}
		}
		w.expect(1, 0)
		w.stop()
	})
}

func TestPoke(t *testing.T) {
	t.Parallel()
	path := write(t, t.TempDir(), "sluice.yaml", small+"admin: {address: \"${env:ADDRESS}\"}\n")
	synctest.Test(t, func(t *testing.T) {
		var address atomic.Pointer[string]
		set := func(s string) { address.Store(&s) }
		set(":1")
		source := NewFile(path)
		source.Cache.Env = func(string) (string, bool) { return *address.Load(), true }
		ctx, cancel := context.WithCancel(t.Context())
		ports := make(chan uint16, 1)
		go func() {
			if err := source.Watch(ctx, func(d *Document) { ports <- d.Admin.Address.Port }); err != nil {
				t.Error(err)
			}
		}()
		if port := <-ports; port != 1 {
			t.Errorf("got %d", port)
		}
		synctest.Wait()
		set(":2")
		source.Poke()
		if port := <-ports; port != 2 {
			t.Errorf("got %d", port)
		}
		cancel()
		synctest.Wait()
	})
}

func TestWatchNeedsAFirstDocument(t *testing.T) {
	t.Parallel()
	err := NewFile(filepath.Join(t.TempDir(), "none.yaml")).Watch(t.Context(), func(*Document) { t.Error("sent") })
	if err == nil || !strings.Contains(err.Error(), "there is no such file") {
		t.Errorf("got %v", err)
	}
}
