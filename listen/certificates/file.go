package certificates

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// maxFile is how large a file of certificates or keys may be: the authorities of
// all the world fit in four times.
const maxFile = 1 << 20

// Problem is what is wrong with a file, in words for whoever has to mend it.
type Problem struct {
	File   string
	Reason string
}

func (p *Problem) Error() string { return p.File + ": " + p.Reason }

func problemf(file, format string, args ...any) *Problem {
	return &Problem{file, fmt.Sprintf(format, args...)}
}

// settled is how old a file must be before its time of change can be trusted: a
// second write within the same tick of the file system's clock does not show.
const settled = 2 * time.Second

// look is a file as it was when it was read.
type look struct {
	path string
	info fs.FileInfo // nil where it could not be read
	at   time.Time
	sum  [sha256.Size]byte
}

// readFile reads a whole file and remembers how it looked. now is when that is.
func readFile(path string, now time.Time) ([]byte, look, error) {
	l := look{path: path, at: now}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // A pipe would wait for a writer.
	if err != nil {
		return nil, l, problemf(path, "%s", plain(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, l, problemf(path, "%s", plain(err))
	}
	if info.IsDir() {
		return nil, l, problemf(path, "is a folder; name a file in it")
	}
	if !info.Mode().IsRegular() {
		return nil, l, problemf(path, "is a pipe or a device; name a file that can be read again when it changes")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, l, problemf(path, "%s", plain(err))
	}
	if len(data) > maxFile {
		return nil, l, problemf(path, "is larger than 1 MiB, which no file of certificates is")
	}
	l.info, l.sum = info, sha256.Sum256(data)
	return data, l, nil
}

// plain is an error of the file system without the name, which is said already.
func plain(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this process; change its owner or mode"
	}
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err.Error()
	}
	return err.Error()
}

// mayDiffer says whether the file has to be read again: it is another one, has
// another size or time, or was so young when it was read that a later write may
// have the same time.
func (l *look) mayDiffer() bool {
	if l.info == nil {
		return true
	}
	info, err := os.Stat(l.path)
	if err != nil {
		return true
	}
	return !os.SameFile(info, l.info) || info.Size() != l.info.Size() || !info.ModTime().Equal(l.info.ModTime()) ||
		l.at.Sub(l.info.ModTime()) < settled
}
