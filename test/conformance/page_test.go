package conformance

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/http1-strictness.md anew")

func TestPageIsFresh(t *testing.T) {
	t.Parallel()
	const name = "../../docs/http1-strictness.md"
	if *update {
		if err := os.WriteFile(name, []byte(Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Page() {
		t.Errorf("%s is stale: go test ./test/conformance -run Page -update", name)
	}
}
