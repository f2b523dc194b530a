package discovery

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// parseStrings is a stand-in for the parser of the configuration.
func parseStrings(path string, text []byte) ([]Endpoint, error) {
	var addresses []string
	if err := json.Unmarshal(text, &addresses); err != nil {
		return nil, err
	}
	return plainList(addresses...), nil
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "endpoints.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFile plays what happens to files, with the clock of the test.
func TestFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := write(t, `["10.0.0.1:80"]`)
		f := &File{Path: path, Parse: parseStrings}
		r := &record{}
		go f.Watch(t.Context(), r.send, r.fault)
		put := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			stamp(t, path)
		}
		step := 0
		expect := func(after time.Duration, list string, faults ...string) {
			t.Helper()
			step++
			time.Sleep(after)
			synctest.Wait()
			if last, _ := r.last(); last != list {
				t.Errorf("step %d: %s, want %s", step, last, list)
			}
			told := r.told()
			if len(told) != len(faults) {
				t.Fatalf("step %d: faults %q, want %q", step, told, faults)
			}
			for i, words := range faults {
				if !strings.Contains(told[i], words) {
					t.Errorf("step %d: fault %q, want %q", step, told[i], words)
				}
			}
		}
		const enough = 3 * time.Second
		expect(0, "10.0.0.1:80")
		if r.confirmed() != 1 {
			t.Errorf("confirmed %d times", r.confirmed())
		}

		put(`["10.0.0.1:80", "10.0.0.2:80"]`)
		expect(enough, "10.0.0.1:80, 10.0.0.2:80")

		// Half of it is there, and it goes on being written: it is not read. Two looks, of which the
		// second would read it, are a second apart at least.
		put(`["10.0.0.3:80", "10.0`)
		expect(950*time.Millisecond, "10.0.0.1:80, 10.0.0.2:80")
		put(`["10.0.0.3:80", "10.0.0.4:80"]`)
		expect(enough, "10.0.0.3:80, 10.0.0.4:80")

		// Half of it stays there: a fault, and the old list.
		put(`["10.0.0.5:80", "10.0`)
		cut := "discovery: file " + path + ": unexpected end of JSON input"
		expect(enough, "10.0.0.3:80, 10.0.0.4:80", cut)
		expect(time.Hour, "10.0.0.3:80, 10.0.0.4:80", cut) // told once

		// Cut to nothing.
		put("")
		empty := "the file is empty"
		expect(enough, "10.0.0.3:80, 10.0.0.4:80", cut, empty)

		// A list without endpoints.
		put("[]")
		nothing := "it tells no endpoint at all"
		expect(enough, "10.0.0.3:80, 10.0.0.4:80", cut, empty, nothing)

		// Replaced by another file.
		other := path + ".new"
		if err := os.WriteFile(other, []byte(`["10.0.0.6:80"]`), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp(t, other)
		if err := os.Rename(other, path); err != nil {
			t.Fatal(err)
		}
		expect(enough, "10.0.0.6:80", cut, empty, nothing)

		// Taken away, and put back.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		gone := "no such file or directory"
		expect(enough, "10.0.0.6:80", cut, empty, nothing, gone)
		put(`["10.0.0.6:80"]`)
		expect(enough, "10.0.0.6:80", cut, empty, nothing, gone)
		if _, n := r.last(); n != 4 {
			t.Errorf("%d lists were sent, want 4", n)
		}

		// Changed within the same time and size: read sooner or later.
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		put(`["10.0.0.7:80"]`)
		if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		expect(15*time.Second, "10.0.0.7:80", cut, empty, nothing, gone)

		// It never stands still: read all the same.
		put(`["10.0.0.8:80"]`)
		for range 40 {
			stamp(t, path)
			time.Sleep(500 * time.Millisecond)
		}
		expect(0, "10.0.0.8:80", cut, empty, nothing, gone)

		put(strings.Repeat(" ", MaxFile+1))
		expect(enough, "10.0.0.8:80", cut, empty, nothing, gone, "the file is larger than 4 MiB")
	})
}

// stamp gives a file the time of the test's clock, which the kernel does not know.
func stamp(t *testing.T, path string) {
	t.Helper()
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestFileThatIsNone(t *testing.T) {
	t.Parallel()
	s := &fileState{file: &File{Path: t.TempDir(), Parse: parseStrings}}
	if _, err := s.look(); err == nil || err.Error() != "this is not a file" {
		t.Errorf("a folder: %v", err)
	}
}

// TestFileAcceptsEmpty: a list without endpoints counts when it is wanted, a file
// without content does not.
func TestFileAcceptsEmpty(t *testing.T) {
	t.Parallel()
	s := &fileState{file: &File{Path: write(t, "[]"), Parse: parseStrings, AcceptEmpty: true}}
	if r, err := s.look(); err != nil || r.same || len(r.list) != 0 {
		t.Errorf("[]: %v, %v", r, err)
	}
	s = &fileState{file: &File{Path: write(t, " \n"), Parse: parseStrings, AcceptEmpty: true}}
	if _, err := s.look(); err == nil {
		t.Error("an empty file passes")
	}
}

// TestFileThatComes: nobody says that a list is good before there is one, and that the file works again before
// it was read.
func TestFileThatComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "endpoints.json")
		r := &record{}
		go (&File{Path: path, Parse: parseStrings}).Watch(t.Context(), r.send, r.fault)
		step := 0
		expect := func(lists, confirmed, faults int) {
			t.Helper()
			step++
			time.Sleep(1100 * time.Millisecond) // One look.
			synctest.Wait()
			if _, n := r.last(); n != lists || r.confirmed() != confirmed || len(r.told()) != faults {
				t.Fatalf("step %d: %d lists, confirmed %d times, faults %q", step, n, r.confirmed(), r.told())
			}
		}
		synctest.Wait()
		if _, n := r.last(); n != 0 || r.confirmed() != 0 || len(r.told()) != 1 {
			t.Fatalf("%d lists, confirmed %d times, faults %q", n, r.confirmed(), r.told())
		}
		for _, text := range []string{`["10.0.0.1:80"]`, "garbage"} {
			lists, confirmed, faults := len(r.lists), r.confirmed(), len(r.told())
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			expect(lists, confirmed, faults) // It has not stood still yet.
			if text == "garbage" {
				expect(lists, confirmed, faults+1)
				break
			}
			expect(lists+1, confirmed+1, faults)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			expect(lists+1, confirmed+1, faults+1)
		}
	})
}
