package reserved

import "testing"

func TestWhy(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Host", "host", "CONTENT-LENGTH", "transfer-encoding", "te", "Upgrade"} {
		if Why(name) == "" {
			t.Errorf("%s may be changed", name)
		}
	}
	for _, name := range []string{"X-Host", "Content-Type", "T", "", "Via", "Server"} {
		if why := Why(name); why != "" {
			t.Errorf("%s may not be changed: %s", name, why)
		}
	}
}
