package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// File is the source that reads a file, and reads it again when it changes: replaced
// or written in place, on every file system.
type File struct {
	Path string
	// Parse reads the list; the error says what is wrong in which line.
	Parse func(path string, text []byte) ([]Endpoint, error)
	// Every is how often the file is looked at; default 1s. What has changed is
	// read when it has stood for as long, so that a file that is being written is not
	// read half.
	Every time.Duration

	AcceptEmpty bool // a list without endpoints counts; a file without content never does
}

// Times of the file.
const (
	defaultEvery = time.Second
	reread       = 10 // looks after which it is read though its time did not change, or does not stand still
)

// String is what is watched.
func (f *File) String() string { return "file " + f.Path }

// Watch is the method of Source.
func (f *File) Watch(ctx context.Context, send func([]Endpoint), fault func(error)) {
	state := &fileState{file: f, every: f.Every}
	if state.every <= 0 {
		state.every = defaultEvery
	}
	w := watcher{name: f.String(), send: send, fault: fault}
	for {
		r, err := state.look()
		w.took(r, err)
		if !sleep(ctx, later(state.every)) {
			return
		}
	}
}

// Read reads the file once, for a look at it in advance.
func (f *File) Read() ([]Endpoint, error) {
	r, err := (&fileState{file: f}).look()
	return r.list, err
}

// fileState is what is known of the file.
type fileState struct {
	file  *File
	every time.Duration

	stamp  string // how the file was at the last look
	read   string // and when it was read
	text   []byte // what was read, whatever it was good for
	bad    error  // why it was refused
	gone   error  // why it could not be looked at, until it is read again
	looks  int    // since it was read
	looked bool
}

// look reads the file when it has changed and stood still since the last look. A
// fault is told again by each look until it is mended.
func (s *fileState) look() (round, error) {
	stamp, err := stampOf(s.file.Path)
	if err != nil {
		s.stamp, s.read, s.looked, s.gone = "", "", true, err
		return round{}, err
	}
	first, settled := !s.looked, stamp == s.stamp
	s.stamp, s.looked = stamp, true
	s.looks++
	if !first && s.looks < reread && (stamp == s.read || !settled) {
		if s.gone != nil {
			return round{}, s.gone // It is there, and nobody knows yet what it is good for.
		}
		return round{same: true}, s.bad
	}
	text, err := readFile(s.file.Path)
	if err != nil {
		return round{}, err
	}
	s.read, s.looks, s.gone = stamp, 0, nil
	if s.text != nil && bytes.Equal(text, s.text) {
		return round{same: true}, s.bad
	}
	s.text = text
	var r round
	r, s.bad = s.parse(text)
	return r, s.bad
}

// parse reads the list of a text.
func (s *fileState) parse(text []byte) (round, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return round{}, errors.New("the file is empty: write [] for a list without endpoints")
	}
	list, err := s.file.Parse(s.file.Path, text)
	if err != nil {
		return round{}, err
	}
	list, note, err := complete(list, s.file.AcceptEmpty)
	return round{list: list, note: note}, err
}

// stampOf tells two states of a file apart without reading it.
func stampOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("this is not a file")
	}
	if info.Size() > MaxFile {
		return "", errTooLarge
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size()), nil
}

// readFile reads a file, up to its limit.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(text) > MaxFile {
		return nil, errTooLarge
	}
	return text, nil
}

var errTooLarge = fmt.Errorf("the file is larger than %d MiB", MaxFile>>20)

// withoutPath is an error about a file whose name was said already.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
