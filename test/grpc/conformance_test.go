package grpc

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/test/rig"
)

// chain is one way in which conformance's reference server stands behind the gateway.
type chain struct {
	name  string // behind_test.go knows it
	cases string // which the gateway is asked to carry
	full  string // and which with SLUICE_CONFORMANCE=full
	least int    // how many cases these are, about
	short bool   // is also played by short tests
}

var chains = []chain{
	// Whatever the client speaks, the origin speaks the same: version, TLS, protocol.
	{
		name:  "same",
		cases: `features: { supportsTlsClientCerts: true }`,
		full: `features:
  compressions: [COMPRESSION_IDENTITY, COMPRESSION_GZIP, COMPRESSION_BR, COMPRESSION_ZSTD, COMPRESSION_DEFLATE, COMPRESSION_SNAPPY]
  supportsTlsClientCerts: true
  supportsHalfDuplexBidiOverHttp1: true
`,
		least: 3600,
	},
	// The origin speaks HTTP/2 in clear text to all clients.
	{
		name:  "h2c",
		cases: `features: { protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC_WEB], compressions: [COMPRESSION_GZIP] }`,
		full:  `features: { protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC_WEB], supportsHalfDuplexBidiOverHttp1: true }`,
		least: 1000,
	},
	// Clients speak HTTP/3, the origin HTTP/2 in clear text.
	{
		name:  "h3",
		cases: `features: { versions: [HTTP_VERSION_3], compressions: [COMPRESSION_GZIP] }`,
		full:  `features: { versions: [HTTP_VERSION_3] }`,
		least: 350,
	},
	// gRPC-Web is translated: the origin is only ever asked in gRPC.
	{
		name:  "grpc_web",
		cases: `features: { protocols: [PROTOCOL_GRPC_WEB] }`,
		full:  `features: { protocols: [PROTOCOL_GRPC_WEB], supportsHalfDuplexBidiOverHttp1: true }`,
		least: 1000,
		short: true,
	},
}

// TestConformance plays the cases of connectrpc.com/conformance against its reference
// server, through the gateway. What fails is tried without the gateway, and whatever
// passes then is our fault. SLUICE_CONFORMANCE=full plays every case that there is.
func TestConformance(t *testing.T) {
	t.Parallel()
	runner, reference := tool(t, "connectconformance"), tool(t, "referenceserver")
	gateway, err := rig.Binary()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	full := os.Getenv("SLUICE_CONFORMANCE") == "full"
	for _, c := range chains {
		if testing.Short() && !c.short {
			continue
		}
		if full {
			c.cases = c.full
		}
		t.Run(c.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "cases.yaml")
			if err := os.WriteFile(config, []byte(c.cases), 0o600); err != nil {
				t.Fatal(err)
			}
			complaints := t.TempDir()
			through := play(t, runner, config, nil, []string{
				behindEnv + "=" + c.name, "SLUICE_BINARY=" + gateway, referenceEnv + "=" + reference, complainEnv + "=" + complaints,
			}, self)
			hear(t, complaints)
			if through.total < c.least {
				t.Fatalf("only %d cases were played: %s", through.total, through.output)
			}
			t.Logf("%d cases", through.total)
			if len(through.failed) == 0 {
				return
			}
			direct := play(t, runner, config, through.failed, nil, reference)
			for _, name := range through.failed {
				if !slices.Contains(direct.failed, name) {
					t.Errorf("passes without the gateway, and fails through it: %s", name)
				}
			}
			t.Logf("%s\nthe gateways say:\n%s", through.output, faults(t, complaints))
		})
	}
}

// hear fails the test where a server before which conformance stood has something to say.
func hear(t *testing.T, complaints string) {
	t.Helper()
	files, err := os.ReadDir(complaints)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), journalName) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(complaints, f.Name()))
		t.Errorf("%s: %v", text, err)
	}
}

// faults are the lines in which the gateways of a run tell of a problem that is not the client's.
func faults(t *testing.T, complaints string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(complaints, "*"+journalName))
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"problem":`) && !strings.Contains(line, `"problem":"client_gone"`) {
				found.WriteString(line)
			}
		}
	}
	return found.String()
}

// tool builds a command of conformance's, in the module beside this package, and returns
// its path in Go's cache.
func tool(t *testing.T, name string) string {
	t.Helper()
	var complaint bytes.Buffer
	cmd := exec.Command("go", "tool", "-n", name)
	cmd.Dir = "conformance"
	cmd.Stderr = &complaint
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaint.String())
	}
	return strings.TrimSpace(string(path))
}

// played is what came of a run.
type played struct {
	total  int
	failed []string
	output string
}

var (
	failedCase = regexp.MustCompile(`(?m)^FAILED: (.+):$`)
	totalCases = regexp.MustCompile(`(?m)^Total cases: (\d+)$`)
)

// play runs cases against a server: all of a configuration, or only some.
func play(t *testing.T, runner, config string, only, env []string, server string) (p played) {
	t.Helper()
	args := []string{"--mode", "server", "--conf", config}
	if len(only) > 0 {
		list := filepath.Join(t.TempDir(), "only.txt")
		if err := os.WriteFile(list, []byte(strings.Join(only, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--run", "@"+list)
	}
	cmd := exec.CommandContext(t.Context(), runner, append(args, "--", server)...)
	cmd.Env = append(os.Environ(), env...)
	output, err := cmd.CombinedOutput()
	p.output = string(output)
	if m := totalCases.FindStringSubmatch(p.output); m != nil {
		p.total, _ = strconv.Atoi(m[1])
	}
	for _, m := range failedCase.FindAllStringSubmatch(p.output, -1) {
		p.failed = append(p.failed, m[1])
	}
	if p.total == 0 || err != nil && len(p.failed) == 0 {
		t.Fatalf("%v\n%s", err, p.output)
	}
	return p
}
