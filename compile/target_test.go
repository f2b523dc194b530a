package compile

import "testing"

// Targets that stand within others are closed with their route, and so are those of a
// configuration that is refused.
func TestNestedTargetsAreClosed(t *testing.T) {
	t.Parallel()
	for file, good := range map[string]bool{"nested_targets": true, "bad_nested_targets": false} {
		var l ledger
		r, err := compileFile(t, newCompiler(&l), "testdata/"+file+".in.yaml", nil)
		if (err == nil) != good {
			t.Fatal(err)
		}
		if good {
			if err := r.Snapshot.Close(); err != nil {
				t.Error(err)
			}
		}
		if built, ended := l.built.Load(), l.ended.Load(); built != ended || built < 5 {
			t.Errorf("%s: %d targets were built, %d closed", file, built, ended)
		}
	}
}
