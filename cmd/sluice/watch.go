package main

import (
	"os"
	"time"

	"github.com/sluice-gateway/sluice/config"
)

// watcher loads the configuration, and looks from time to time whether one of its
// files has changed. Asking for the state of a few files costs microseconds, works
// on every file system, and sees files that are replaced as well as those that
// are written. Its methods are called by one goroutine.
type watcher struct {
	path  string
	cache config.Cache
	files []string
	seen  []fileState // when the files were loaded
	last  []fileState // at the look before
}

// fileState is what tells a changed file; the zero value is a file that is not there.
type fileState struct {
	size     int64
	modified time.Time
}

// watchEvery is how often the files are looked at. A change is applied when two
// looks in a row have seen the same, so that a file is not read while it is being
// written.
const watchEvery = 250 * time.Millisecond

func newWatcher(path string) *watcher { return &watcher{path: path, files: []string{path}} }

// load reads the configuration. What reads as before is not decoded again.
func (w *watcher) load(pace func()) (*config.Document, error) {
	w.cache.Pace = pace
	w.seen = statesOf(w.files)
	doc, err := config.Load(w.path, &w.cache)
	if doc != nil {
		w.files = doc.Files
		w.seen = statesOf(w.files)
	}
	w.last = w.seen
	return doc, err
}

// changed looks at the files, and says true once for each change that has come to rest.
func (w *watcher) changed() bool {
	now := statesOf(w.files)
	rested := equalStates(now, w.last)
	w.last = now
	return rested && !equalStates(now, w.seen)
}

func statesOf(files []string) []fileState {
	states := make([]fileState, len(files))
	for i, name := range files {
		if info, err := os.Stat(name); err == nil {
			states[i] = fileState{info.Size(), info.ModTime()}
		}
	}
	return states
}

func equalStates(a, b []fileState) bool {
	for i := range a {
		if a[i].size != b[i].size || !a[i].modified.Equal(b[i].modified) {
			return false
		}
	}
	return true
}
