// Package golden compares what the gateway says of whole documents with what it
// said before: bad/*.yaml with the exact problems, good/*.yaml with what explain
// tells about requests. Read the difference before you accept it with -update.
package golden

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// run runs a command of the binary in a folder and returns everything it says.
func run(t *testing.T, dir string, wantCode int, args ...string) string {
	t.Helper()
	path, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		t.Errorf("sluice %v: wanted exit code %d, got %d\n%s", args, wantCode, code, out)
	}
	return string(out)
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n--- wanted\n%s--- got\n%s", name, want, got)
	}
}

func documents(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no documents: %v", dir, err)
	}
	return paths
}

// What is wrong is said with its place, a quote and what to write.
func TestBadDocuments(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t, "bad") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			got := run(t, "bad", 1, "check", filepath.Base(path))
			compare(t, strings.TrimSuffix(path, ".yaml")+".txt", got)
		})
	}
}

// The first lines of a good document, "# METHOD URL [name:value]", are what explain
// is asked.
func TestGoodDocuments(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t, "good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			run(t, "good", 0, "check", filepath.Base(path))
			var all strings.Builder
			for line := range strings.Lines(string(data)) {
				question, ok := strings.CutPrefix(line, "# ")
				if !ok {
					break
				}
				words := strings.Fields(question)
				args := []string{"explain", "--config", filepath.Base(path)}
				for _, field := range words[2:] {
					args = append(args, "-H", field)
				}
				code := 0
				if strings.Contains(words[1], "nowhere") {
					code = 1
				}
				all.WriteString("$ sluice " + strings.Join(append(args, words[:2]...), " ") + "\n")
				all.WriteString(run(t, "good", code, append(args, words[:2]...)...) + "\n")
			}
			compare(t, strings.TrimSuffix(path, ".yaml")+".txt", all.String())
		})
	}
}
