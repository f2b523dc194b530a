package traffic

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// Health says how endpoints are asked whether they are well.
type Health struct {
	Protocol  string                `enum:"http,tcp,grpc" default:"http" doc:"How an endpoint is asked: with a request, by opening a connection (and agreeing on TLS where it has that), or with gRPC's health protocol."`
	Path      string                `default:"/" pattern:"^/[!-~]*$" form:"a path that begins with a slash and has no spaces; others are written with %XX" doc:"What is asked for, over http."`
	Method    string                `enum:"GET,HEAD,OPTIONS" default:"GET" doc:"The method, over http."`
	Host      string                `doc:"The host that is asked for; absent: the endpoint's address."`
	Headers   unit.Map[unit.Secret] `doc:"Fields of the request. Their values are not shown, because they may be secrets."`
	Statuses  unit.List[Statuses]   `default:"[200-299]" doc:"The statuses of a good answer, such as 200 or 200-299."`
	Body      string                `max:"4096" doc:"What the body of a good answer contains, within its first 64 KiB."`
	Service   string                `max:"256" doc:"The service that is asked for, over grpc; absent: the server as a whole."`
	Interval  unit.Duration         `default:"5s" min:"10ms" max:"1d" doc:"The time from one check of an endpoint to the next."`
	Jitter    unit.Share            `default:"20%" doc:"By how much of the interval a check may come earlier or later, so that many gateways do not ask at once."`
	Timeout   unit.Duration         `default:"2s" min:"1ms" max:"5m" doc:"The longest wait for an answer."`
	Unhealthy int                   `default:"3" min:"1" max:"1000" doc:"Bad answers in a row that make an endpoint unhealthy."`
	Healthy   int                   `default:"2" min:"1" max:"1000" doc:"Good answers in a row that make it healthy again, and end an ejection."`
}

// Validate is called by the decoder.
func (h *Health) Validate() error {
	for _, e := range h.Headers {
		if !fieldName(e.Key) || strings.ContainsAny(e.Value.Reveal(), "\r\n\x00") {
			return unit.At("headers", fmt.Errorf("%q cannot be sent: a name has letters, digits and hyphens, a value is one line", e.Key))
		}
		if strings.EqualFold(e.Key, "host") {
			return unit.At("headers", errors.New("write the host as host: NAME"))
		}
	}
	if err := h.checkPath(); err != nil {
		return unit.At("path", err)
	}
	if strings.ContainsFunc(h.Host, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("/?#@\\\"<>", r) }) {
		return unit.At("host", fmt.Errorf("%q is no host, such as health.example.com", h.Host))
	}
	if h.Body != "" && h.Method == "HEAD" {
		return unit.At("body", errors.New("the answer to HEAD has no body: use method: GET"))
	}
	return h.checkProtocol()
}

// checkPath looks whether a path can be asked for.
func (h *Health) checkPath() error {
	if strings.Contains(h.Path, "#") {
		return errors.New("what stands behind # is never sent: write the path without it, or %23 if it is a part of the path")
	}
	if _, err := url.ParseRequestURI(h.Path); err != nil {
		return fmt.Errorf("%q cannot be asked for: a %% begins the number of a byte, such as %%20", h.Path)
	}
	return nil
}

// checkProtocol looks for what the protocol has no use for: whoever writes it expects something of it.
func (h *Health) checkProtocol() error {
	if h.Service != "" && h.Protocol != "grpc" {
		return unit.At("service", errors.New("only checks over gRPC name a service: write protocol: grpc"))
	}
	if h.Protocol == "http" {
		return nil
	}
	of := "a check over " + h.Protocol
	usual := len(h.Statuses) == 0 || len(h.Statuses) == 1 && h.Statuses[0] == Statuses{200, 299}
	for _, unused := range []struct {
		key  string
		used bool
	}{
		{"path", h.Path != "/"}, {"method", h.Method != "GET"}, {"statuses", !usual}, {"body", h.Body != ""},
		{"host", h.Host != "" && h.Protocol == "tcp"}, {"headers", len(h.Headers) > 0 && h.Protocol == "tcp"},
	} {
		if unused.used {
			return unit.At(unused.key, fmt.Errorf("%s has no %s: leave it out, or write protocol: http", of, unused.key))
		}
	}
	return nil
}

// Statuses is a status, or a range of them.
type Statuses struct{ From, To int }

// Form says how it is written.
func (Statuses) Form() unit.Form {
	return unit.Form{Name: "statuses", Is: "a status such as 200, or a range such as 200-299", Pattern: "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"}
}

// UnmarshalText reads it.
func (s *Statuses) UnmarshalText(text []byte) error {
	from, to, ranged := strings.Cut(string(text), "-")
	if !ranged {
		to = from
	}
	var err, err2 error
	s.From, err = strconv.Atoi(from)
	s.To, err2 = strconv.Atoi(to)
	if err != nil || err2 != nil || s.From < 100 || s.To > 599 || s.From > s.To {
		return fmt.Errorf("%q is not %s", text, s.Form().Is)
	}
	return nil
}

func (s Statuses) String() string {
	if s.From == s.To {
		return strconv.Itoa(s.From)
	}
	return strconv.Itoa(s.From) + "-" + strconv.Itoa(s.To)
}

// MarshalText is String.
func (s Statuses) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
