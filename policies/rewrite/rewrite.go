// Package rewrite changes the path, the host and the query that the origin is asked for.
//
// The path that comes out must be one that the gateway would have accepted and
// left alone on arrival: nothing that a value brings along can climb out of the
// place in which it stands. What does not fit is refused, never repaired, because
// the route and the policies before this one have decided about another path.
package rewrite

import (
	"embed"
	"errors"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// The problems of this policy. The values that a client sends decide about them.
var (
	PathRefused = &message.Problem{Status: 400, Code: "rewrite_path_refused", Title: "The request leads to a path that is not acceptable", Source: message.SourceClient}
	HostRefused = &message.Problem{Status: 400, Code: "rewrite_host_refused", Title: "The request leads to a host that is not acceptable", Source: message.SourceClient}
)

// Kind is the policy rewrite.
var Kind = policy.Define("rewrite", policy.Transform, files, build, policy.Problems(PathRefused, HostRefused))

// rewriter is one rewrite policy. All parts speak of the request as it came.
type rewriter struct {
	path  *pathRule
	host  *template.Template
	query *queryRule
}

func build(c *Config, _ *policy.Env) (policy.Hooks, error) {
	path, pathErr := compilePath(c)
	host, hostErr := compileHost(c.Host)
	query, queryErr := compileQuery(&c.Query)
	if err := errors.Join(pathErr, hostErr, queryErr); err != nil {
		return policy.Hooks{}, err
	}
	r := &rewriter{path, host, query}
	if r.path == nil && r.host == nil && r.query == nil {
		return policy.Hooks{}, errors.New("nothing to do: give a path, strip_prefix, add_prefix, regex, host or query")
	}
	return policy.Hooks{OnRequest: r.onRequest}, nil
}

// onRequest costs no allocation for strip_prefix, for what is literal, and where
// nothing matches; one for each of path, host and query that is put together.
// A regex that matches costs a few more: package regexp builds the result.
func (r *rewriter) onRequest(x *message.Exchange) message.Verdict {
	path, host, query := x.Request.Path, x.Request.Authority, x.Request.Query
	if r.path != nil {
		var refused *message.Problem
		if path, refused = r.path.rewrite(x); refused != nil {
			return x.Deny(refused)
		}
	}
	if r.host != nil {
		var ok bool
		if host, ok = parseHost(r.host.String(x)); !ok {
			return x.Deny(HostRefused)
		}
	}
	if r.query != nil {
		query = r.query.rewrite(x)
	}
	x.Request.Path, x.Request.Authority = path, host
	if query != x.Request.Query {
		x.Request.Query, x.Request.HasQuery = query, query != ""
	}
	return message.Next
}

// compileHost returns nil where no host is set.
func compileHost(text string) (*template.Template, error) {
	if text == "" {
		return nil, nil
	}
	t, err := template.Parse(text, template.Use{})
	if err != nil {
		return nil, unit.At("host", err)
	}
	host, ok := parseHost(t.Shape())
	if !ok {
		return nil, unit.Problem("host", "this is no host: write a name or an address, and a port if one is needed, such as orders.example.com:8080; no scheme and no path")
	}
	if t.IsLiteral() {
		return template.Literal(host), nil
	}
	return t, nil
}

// parseHost checks a host. A label that is empty is a value that is not there.
func parseHost(text string) (string, bool) {
	host, ok := message.ParseAuthority(text)
	if !ok || host[0] == '.' || strings.Contains(host, "..") {
		return "", false
	}
	return host, true
}
