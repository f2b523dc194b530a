package repo

// Layer says what the packages of one folder may import of this module, outside
// their tests. The first Layer that covers a package decides.
type Layer struct {
	Package string // a pattern, see Match
	May     []string
	Why     string
}

// leaves is what everybody may import.
var leaves = []string{"internal/...", "unit"}

// Layers is the section "Import rules" of the architecture, row by row.
var Layers = []Layer{
	{"internal/...", with("internal/..."), "leaf helpers know nothing of the gateway"},
	{"unit", with("internal/..."), "durations, sizes and secrets are words, not behaviour"},
	{"message", with("internal/..."), "the most-read package stays clean"},

	{"message/section", with(leaves, "message"), "what HTTP/2 and HTTP/3 have in common"},
	{"message/detached", with(leaves, "message"), "exchanges without a client know no protocol"},
	{"wire/*", with(leaves, "message", "message/section"), "a protocol can be added or replaced in one folder"},
	{"route", with(leaves, "message"), "the matcher knows requests only"},
	{"template", with(leaves, "message"), "stands beside route"},
	{"policy", with(leaves, "message"), "what a policy author imports"},
	{"policy/policytest", with(leaves, "message", "policy", "template", "config"), "test support for one policy"},
	{"target", with(leaves, "message"), "what a target author imports"},
	{"ai/...", with(leaves, "message"), "the chat model knows no run time"},
	{"observe/...", with(leaves, "message", "policy"), "it is told what happened, and hands counters to policies"},

	{"upstream/*", leaves, "decisions without connections: each can be read and tested alone"},
	{"upstream", with(leaves, "upstream/*", "message", "message/detached", "wire/*", "route", "template", "policy", "target", "ai", "observe"), "the second step of the chain"},
	{"listen", with(leaves, "message", "wire/*", "route", "template", "policy", "target", "ai", "observe", "listen/certificates"), "the second step of the chain"},
	{"listen/certificates", with(leaves, "message"), "certificates know no configuration"},
	{"engine", with(leaves, "message", "wire/*", "route", "template", "policy", "target", "ai", "observe", "upstream", "listen"), "the engine runs what it is given"},

	{"policies", with("policy", "policies/*"), "the one list"},
	{"policies/...", with(leaves, "message", "policy", "template", "ai"), "a policy is a folder that can be deleted"},
	{"targets", with("target", "targets/*"), "the one list"},
	{"targets/...", with(leaves, "message", "message/detached", "target", "template", "upstream", "upstream/*", "wire/*", "ai"), "a target is a folder that can be deleted"},

	{"config/traffic", with(leaves), "settings of upstreams know no run time"},
	{"config/...", with(leaves, "config/traffic"), "config knows no run time"},
	{"compile/...", with(leaves, "config", "config/traffic", "engine", "policy", "target", "route", "template", "upstream", "upstream/*", "listen/...", "message", "observe", "wire/*"), "from words to run time"},

	{"control/...", with(leaves, "config"), "the domain has no I/O"},
	{"store/...", with(leaves, "control/...", "store/..."), "the control plane's store"},
	{"admin/...", with(leaves, "control/...", "store", "config", "compile", "admin/..."), "the control plane's API"},
	{"portal/...", with(leaves, "control/...", "store", "config", "portal/..."), "the developer portal's API"},
	{"web/...", with(leaves), "built assets"},

	{"cmd/sluice", with("..."), "puts everything together"},
	{"test/...", with("..."), "black box, and tests over the whole lists"},
	{"tools/...", with("..."), "generators read the whole lists"},
	{"examples/...", with("..."), "run by tests"},
}

// Forbidden are the rules that hold whatever a Layer allows, in tests too where
// Tests is set.
type Forbidden struct {
	Import string // a pattern
	Except []string
	Tests  bool
	Why    string
}

var ForbiddenImports = []Forbidden{
	{"cmd/...", []string{"cmd/..."}, true, "nothing imports cmd/sluice"},
	{"policies", []string{"cmd/sluice", "test/...", "tools/..."}, false, "one list; others take it as a value"},
	{"policies/*", []string{"policies", "test/...", "tools/..."}, false, "one list; others take it as a value"},
	{"targets", []string{"cmd/sluice", "test/...", "tools/..."}, false, "one list; others take it as a value"},
	{"targets/*", []string{"targets", "test/...", "tools/..."}, false, "one list; others take it as a value"},
	{"test/...", []string{"test/..."}, true, "the black box looks at the gateway, not the other way round"},
	{"tools/...", []string{"tools/...", "test/..."}, true, "tools are not part of the gateway"},
}

// Homes is the one home package of each third-party dependency. Tests may import
// what stands in TestHomes too.
var Homes = map[string][]string{
	"go.yaml.in/yaml/v4":                         {"config"},
	"github.com/itchyny/gojq":                    {"policies/jq"},
	"cel.dev/cel-go":                             {"policies/rules"},
	"github.com/santhosh-tekuri/jsonschema/v6":   {"policies/jsonschema"},
	"golang.org/x/net/http2":                     {"upstream/probe"},
	"golang.org/x/net/http2/hpack":               {"internal/headerblock", "wire/http2", "wire/http3"},
	"github.com/maypok86/otter/v2":               {"policies/cache"},
	"github.com/valkey-io/valkey-go":             {"internal/valkey"},
	"github.com/golang-jwt/jwt/v5":               {"policies/jwt"},
	"github.com/andybalholm/brotli":              {"policies/compress"},
	"github.com/klauspost/compress":              {"policies/compress"},
	"github.com/corazawaf/coraza/v3":             {"policies/waf"},
	"github.com/corazawaf/coraza-coreruleset/v4": {"policies/waf"},
	"github.com/spf13/cobra":                     {"cmd/sluice"},
	"github.com/caddyserver/certmagic":           {"listen/certificates"},
	"github.com/mholt/acmez/v3":                  {"listen/certificates"},
	"go.uber.org/zap":                            {"listen/certificates"},
	"github.com/miekg/dns":                       {"upstream/discovery"},
	"golang.org/x/sys":                           {"internal/sock", "listen"},
	"golang.org/x/net/ipv4":                      {"listen"},
	"github.com/quic-go/quic-go":                 {"wire/http3", "listen"},
	"golang.org/x/crypto":                        {"policies/basicauth"},
}

// TestHomes is what only tests use, and where.
var TestHomes = map[string][]string{
	"github.com/quic-go":                       {"wire/http3", "listen", "test/...", "tools/..."},
	"golang.org/x/net":                         {"wire/...", "test/..."},
	"google.golang.org/grpc":                   {"test/grpc", "upstream/probe", "internal/grpchealth"},
	"google.golang.org/genproto":               {"test/grpc"},
	"google.golang.org/protobuf":               {"test/grpc"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"config", "test/...", "tools/..."},
}

// NetHTTP is where net/http may be imported outside tests: no second request
// model on the hot path.
var NetHTTP = []string{"admin/...", "portal/...", "cmd/...", "listen/certificates", "upstream/discovery", "upstream/probe", "test/...", "tools/...", "web/..."}

// RequestPath is what an exchange passes through: no context.WithValue, no
// map[string]any.
var RequestPath = []string{"message", "message/section", "message/detached", "wire/*", "route", "engine", "upstream", "listen", "target"}

// Policies and targets are on the request path as well, but what they do to JSON
// bodies may need a map; context.WithValue is refused there too.
var NoContextValues = []string{"message", "wire/...", "route", "engine", "upstream", "listen", "policy", "policies/...", "target", "targets/...", "template", "observe/..."}

// BadFolders are names that say nothing.
var BadFolders = []string{"pkg", "util", "utils", "common", "helper", "helpers", "types", "base", "core", "manager", "misc", "shared", "lib"}

// BadFiles are named after what they are made of, not after their idea.
var BadFiles = []string{"types.go", "helpers.go", "helper.go", "const.go", "consts.go", "constants.go", "interface.go", "interfaces.go", "util.go", "utils.go", "common.go", "misc.go"}

// Sizes: what is longer than Report is reported, what is longer than Fail fails.
type Size struct{ Report, Fail int }

var (
	FunctionLines = Size{70, 120}
	FileLines     = Size{600, 900}
	PackageLines  = Size{4000, 5000}
)

// Tables are files that are long because they are data.
var Tables = []string{"test/repo/rules.go", "test/conformance/..."}

// PolicyFiles is what each policy's folder has; $ is the folder's name.
var PolicyFiles = []string{"$.go", "config.go", "$_test.go", "README.md", "schema.json", "testdata/*.txtar"}

// TargetFiles is what each target's folder has.
var TargetFiles = []string{"$.go", "$_test.go", "README.md", "schema.json"}

// GlossaryWords must stand in GLOSSARY.md as entries.
var GlossaryWords = []string{
	"Listener", "Route", "Match", "Policy", "Kind", "Stage", "Target", "Hook", "Exchange", "Facts", "Verdict",
	"Problem", "Fault", "Upstream", "Endpoint", "Snapshot", "Document", "Revision", "Consumer", "Credential",
}

// ArchitectureLines is how long ARCHITECTURE.md may be.
const ArchitectureLines = 300

// with joins patterns and lists of patterns.
func with(parts ...any) []string {
	var all []string
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			all = append(all, v)
		case []string:
			all = append(all, v...)
		}
	}
	return all
}
