package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxReferenced is how long a file named by ${file:…} may be, in bytes.
const maxReferenced = 1 << 20

// references resolves ${env:NAME} and ${file:/path} in the strings of one file, and
// remembers what it saw: a value that changes makes what was decoded stale.
type references struct {
	dir  string // what a relative path is relative to
	env  func(name string) (string, bool)
	seen map[string]resolved // by "env:NAME", "file:/absolute/path"
	used []string            // the references that were met since the last call of take
}

type resolved struct {
	value string
	err   error
	path  string // the file that was read
	stamp string // how it was then
}

func newReferences(dir string, env func(string) (string, bool)) *references {
	if env == nil {
		env = os.LookupEnv
	}
	return &references{dir: dir, env: env, seen: map[string]resolved{}}
}

// take returns the references that were met since it was last called.
func (r *references) take() []string {
	used := r.used
	r.used = nil
	return used
}

// expand replaces the references in a string. The error never holds a value.
func (r *references) expand(s string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			return b.String(), nil
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(escaped)
			b.WriteString("${")
			s = rest
			continue
		}
		b.WriteString(before)
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New(`"${" begins a reference that has no "}": write ${env:NAME} or ${file:/path}, or $${ for the characters themselves`)
		}
		value := r.lookup(name)
		if value.err != nil {
			return "", value.err
		}
		b.WriteString(value.value)
		s = after
	}
}

func (r *references) lookup(name string) resolved {
	r.used = append(r.used, name)
	return r.value(name)
}

// value is lookup without a note that the reference was met.
func (r *references) value(name string) resolved {
	key := name
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		key = "file:" + r.path(path)
	}
	value, ok := r.seen[key]
	if !ok {
		value = r.resolve(name)
		r.seen[key] = value
	}
	return value
}

// path is the file that a reference in a file of this folder means.
func (r *references) path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.dir, path)
}

func (r *references) resolve(name string) resolved {
	scheme, rest, _ := strings.Cut(name, ":")
	if rest == "" || scheme != "env" && scheme != "file" {
		return resolved{err: fmt.Errorf("${%s} is no reference: write ${env:NAME} or ${file:/path}, or $${ for the characters themselves", name)}
	}
	if scheme == "env" {
		value, ok := r.env(rest)
		if !ok {
			return resolved{err: fmt.Errorf("the environment has no variable %q", rest)}
		}
		return resolved{value: value}
	}
	path := r.path(rest)
	stamp := stampOf(path)
	value, err := readReferenced(path)
	if err != nil {
		return resolved{err: fmt.Errorf("${%s}: %w", name, err), path: path, stamp: stamp}
	}
	return resolved{value: value, path: path, stamp: stamp}
}

// readReferenced reads a file and cuts one line end off its end.
func readReferenced(path string) (string, error) {
	text, err := readLimited(path, maxReferenced, nil)
	if err != nil {
		return "", err
	}
	s := strings.TrimSuffix(string(text), "\n")
	return strings.TrimSuffix(s, "\r"), nil
}

// readPiece is how much of a file is read at once: a system call that copies many
// megabytes keeps everybody else from running.
const readPiece = 256 << 10

// readLimited reads a regular file of at most limit bytes; it calls pace, if that is
// not nil, after every piece.
func readLimited(path string, limit int64, pace func()) ([]byte, error) {
	// Opening a pipe would wait for a writer, so it is looked at first.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fileFault(err)
	}
	if info.IsDir() {
		return nil, errors.New("this is a directory, not a file")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("this is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileFault(err)
	}
	defer file.Close()
	if info.Size() > limit {
		return nil, fmt.Errorf("the file is larger than %d bytes", limit)
	}
	text := make([]byte, 0, info.Size()+1)
	for {
		n, err := file.Read(text[len(text):min(cap(text), len(text)+readPiece)])
		text = text[:len(text)+n]
		if int64(len(text)) > limit {
			return nil, fmt.Errorf("the file is larger than %d bytes", limit)
		}
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return nil, fileFault(err)
		}
		if pace != nil {
			pace()
		}
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
	}
}

// fileFault says in plain words why a file cannot be read; the place says which.
func fileFault(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("there is no such file")
	case errors.Is(err, os.ErrPermission):
		return errors.New("the file may not be read by this process")
	}
	return fmt.Errorf("the file cannot be read: %w", err)
}
