// Package redirect answers requests with another place to ask.
//
// The default status is 307: a client repeats the request as it was, and no
// browser remembers the answer, so a mistake ends with the next reload. 308 and
// 301 are kept by browsers for as long as they like.
//
// What a client sends can never choose the host: see location.go.
package redirect

import (
	"embed"
	"errors"
	"fmt"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Refused is the answer where values of the request make a location that no
// client should follow.
var Refused = &message.Problem{Status: 400, Code: "redirect_refused", Title: "The request leads to a location that is not acceptable", Source: message.SourceClient}

// Kind is the target redirect.
var Kind = target.Define("redirect", files, build, Refused)

func build(c *Config, _ *target.Env) (target.Handler, error) {
	var statusErr error
	switch c.Status {
	case 301, 302, 303, 307, 308:
	default:
		statusErr = unit.At("status", fmt.Errorf("%d does not lead elsewhere: write 301, 302, 303, 307 or 308", c.Status))
	}
	l, err := parse(c.To, c.KeepQuery)
	if err := errors.Join(unit.At("to", err), statusErr); err != nil {
		return target.Handler{}, err
	}
	status := c.Status
	return target.Handler{Serve: func(x *message.Exchange) error {
		to, ok := l.of(x)
		if !ok {
			return Refused
		}
		x.Response.Status = status
		x.Response.Header.Set("Location", to)
		return nil
	}}, nil
}
