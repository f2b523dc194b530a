// Package requestlimits refuses requests that are larger than an API needs them to be.
//
// The listener has limits of its own, which protect the gateway. These are the
// tighter ones that protect an origin, and may differ from route to route.
package requestlimits

import (
	"embed"
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy request_limits. It declares no problems of its own: it refuses
// with those with which a listener refuses what is too large for it.
var Kind = policy.Define("request_limits", policy.Edge, files, build)

// fieldOverhead is what a field costs beside its name and value: ": " and CRLF.
const fieldOverhead = 4

// limits is one request_limits policy. The problems are made once, with the limit
// in their detail.
type limits struct {
	body, header, target, query int64
	fields, segments            int

	bodyTooLarge, headerTooLarge, tooManyFields *message.Problem
	targetTooLong, queryTooLong, pathTooDeep    *message.Problem

	counted policy.Local[countedBody]
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	l := &limits{
		body: c.Body.Bytes(), header: c.Header.Bytes(), target: c.Target.Bytes(), query: c.Query.Bytes(),
		fields: c.HeaderFields, segments: c.PathSegments,

		bodyTooLarge:   message.RequestTooLarge.WithDetail(fmt.Sprintf("The body may have %s at the most.", c.Body)),
		headerTooLarge: open(message.HeaderTooLarge, fmt.Sprintf("All header fields together may have %s at the most.", c.Header)),
		tooManyFields:  open(message.HeaderTooLarge, fmt.Sprintf("There may be %d header fields at the most.", c.HeaderFields)),
		targetTooLong:  open(message.TargetTooLong, fmt.Sprintf("Path and query may have %s at the most.", c.Target)),
		queryTooLong:   open(message.TargetTooLong, fmt.Sprintf("The query may have %s at the most.", c.Query)),
		pathTooDeep:    open(message.TargetTooLong, fmt.Sprintf("The path may have %d segments at the most.", c.PathSegments)),

		counted: policy.NewLocal[countedBody](env),
	}
	return policy.Hooks{OnRequest: l.onRequest}, nil
}

// open returns a problem after which the connection goes on: the head was read to
// its end, so what follows it is known.
func open(p *message.Problem, detail string) *message.Problem {
	p = p.WithDetail(detail)
	p.CloseConnection = false
	return p
}

// onRequest allocates nothing: the room for counting comes with the exchange.
func (l *limits) onRequest(x *message.Exchange) message.Verdict {
	if p := l.refuse(&x.Request); p != nil {
		return x.Deny(p)
	}
	if x.Request.Body != nil && x.Request.Body.Length() < 0 {
		counted := l.counted.At(x)
		*counted = countedBody{inner: x.Request.Body, left: l.body, tooLarge: l.bodyTooLarge}
		x.Request.Body = counted
	}
	return message.Next
}

// refuse returns why a head is too large, or announces a body that is; nil if
// nothing is wrong.
func (l *limits) refuse(r *message.Request) *message.Problem {
	path := r.RawPath
	if path == "" {
		path = r.Path
	}
	target := len(path)
	if r.HasQuery {
		target += len("?") + len(r.Query)
	}
	if int64(target) > l.target {
		return l.targetTooLong
	}
	if int64(len(r.Query)) > l.query {
		return l.queryTooLong
	}
	if strings.Count(path, "/") > l.segments {
		return l.pathTooDeep
	}
	if r.Header.Len() > l.fields {
		return l.tooManyFields
	}
	size := int64(0)
	for i := range r.Header.Fields() {
		f := &r.Header.Fields()[i]
		size += int64(len(f.Name) + len(f.Value) + fieldOverhead)
	}
	if size > l.header {
		return l.headerTooLarge
	}
	if r.BodyLength() > l.body {
		return l.bodyTooLarge
	}
	return nil
}
