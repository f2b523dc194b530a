package config

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Source delivers documents: a file, later a control plane or a cluster. Watch
// sends the first document before anything else and then one whenever something
// changed, until ctx is done; send is called on Watch's goroutine. The error says
// why there is no first document; it is nil when ctx is done.
type Source interface {
	Watch(ctx context.Context, send func(*Document)) error
}

// File is the Source that loads a file, and all that it includes and refers to. It
// looks at their times and sizes every half second, so it works on
// every file system, and with editors and tools that replace files.
type File struct {
	Path  string
	Cache *Cache // nil: one of its own
	// Failed is called with the problems of a later load that failed; the document
	// that was sent before stays in force. It may be nil.
	Failed func(error)

	poke chan struct{}
}

// NewFile returns the source of a file.
func NewFile(path string) *File {
	return &File{Path: path, Cache: &Cache{}, poke: make(chan struct{}, 1)}
}

// every is how often files are looked at. A change is loaded when it has stood for
// this long, so that a file that is being written is not read half.
const every = 500 * time.Millisecond

// Poke makes Watch load again now, changed or not: for SIGHUP, and for variables of
// the environment, which nobody can watch. It may be called on any goroutine.
func (f *File) Poke() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// Watch loads the file and sends it again whenever it changes.
func (f *File) Watch(ctx context.Context, send func(*Document)) error {
	doc, err := Load(f.Path, f.Cache)
	if err != nil {
		return err
	}
	watched := doc.watched
	send(doc)

	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last := ""
	for {
		poked := false
		select {
		case <-ctx.Done():
			return nil
		case <-f.poke:
			poked = true
		case <-ticker.C:
		}
		now, changed := inspect(watched)
		settled := now == last
		last = now
		if !poked && (!changed || !settled) {
			continue
		}
		doc, err := Load(f.Path, f.Cache)
		if err == nil {
			watched = doc.watched
			send(doc)
			continue
		}
		// Everything that either load read is watched: the fault may be in any of it.
		for path, stamp := range doc.watched {
			watched[path] = stamp
		}
		if f.Failed != nil {
			f.Failed(err)
		}
	}
}

// inspect tells how the files are now, and whether one is not as it was when it was
// read.
func inspect(watched map[string]string) (now string, changed bool) {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(watched)) {
		stamp := stampOf(path)
		b.WriteString(stamp)
		b.WriteByte('\n')
		changed = changed || stamp != watched[path]
	}
	return b.String(), changed
}

// stampOf tells two states of a file apart, or those of a pattern: which files
// match it.
func stampOf(path string) string {
	if isPattern(path) {
		matches, err := filepath.Glob(path)
		if err != nil {
			return "" // the load has said so
		}
		return strings.Join(matches, "\n")
	}
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

func isPattern(path string) bool { return strings.ContainsAny(path, "*?[") }
