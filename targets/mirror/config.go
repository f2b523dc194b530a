package mirror

import (
	"errors"
	"fmt"

	"github.com/sluice-gateway/sluice/internal/reserved"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `mirror`.
type Config struct {
	target.Nested
	To          string        `required:"true" min:"1" doc:"The name of the upstream that gets the copies."`
	Share       unit.Share    `default:"100%" min:"0.0001%" doc:"The share of the requests that is copied."`
	Key         string        `max:"1024" doc:"A template, such as {consumer.name} or {request.cookie.uid}: of requests for which it has the same value either all or none are copied. Absent, and for requests where its variables have no value: chosen at random."`
	Body        unit.Size     `default:"64KiB" max:"16MiB" doc:"The longest body of a request that is copied; a request with a longer one is not."`
	Concurrency int           `default:"100" min:"1" max:"10000" doc:"How many copies there may be at one time, with those whose request is still arriving and those that wait to be compared; beyond it requests are not copied."`
	Timeout     unit.Duration `default:"5s" min:"1ms" max:"10m" doc:"How long a copy may take, to the end of its answer, and how long the answer to the client is waited for to be compared."`
	Header      string        `pattern:"^[A-Za-z][A-Za-z0-9-]{0,63}$" form:"the name of a field: letters, digits and hyphens, a letter first, at most 64 long" doc:"A field of the copies, such as X-Mirrored, whose value is 1. Absent: they look like the requests."`
	Compare     *Compare      `doc:"Whether the two answers are compared, and how; absent: they are not."`
}

// Compare says what is compared.
type Compare struct {
	Headers       unit.List[string] `default:"[Content-Type]" max:"64" doc:"The fields whose values must be the same; \"*\" is all but those in ignore_headers."`
	IgnoreHeaders unit.List[string] `default:"[Age, Alt-Svc, Date, ETag, Expires, Last-Modified, Server, Server-Timing, Set-Cookie, Traceparent, Via, X-Request-Id]" max:"64" doc:"The fields that \"*\" leaves out."`
	Body          unit.Size         `default:"64KiB" max:"1MiB" doc:"The longest body that is compared; 0B: bodies are not. JSON is compared by its meaning."`
	IgnorePaths   unit.List[string] `max:"64" doc:"What may differ in JSON, such as meta.request_id, items[].updated_at, items[0], users.*.seen or [\"a.b\"]: [] is any entry of a list, * any key."`
	Log           int               `default:"6" min:"0" max:"600" doc:"How many differences are logged a minute; 0: none."`
	LogValues     bool              `doc:"Whether the log has the values that differ, cut to 64 characters, without those of credentials. Absent: their places only."`
}

// check says all that is wrong apart from the upstreams.
func (c *Config) check() error {
	var errs []error
	if c.Header != "" {
		if why := reserved.Why(c.Header); why != "" {
			errs = append(errs, unit.Problem("header", c.Header+" cannot be set here: "+why))
		}
	}
	if c.Compare == nil {
		return errors.Join(errs...)
	}
	for path, list := range map[string]unit.List[string]{"compare.headers": c.Compare.Headers, "compare.ignore_headers": c.Compare.IgnoreHeaders} {
		for i, name := range list {
			if !message.ValidName(name) {
				errs = append(errs, unit.At(fmt.Sprintf("%s[%d]", path, i), fmt.Errorf("%q is not the name of a header field", name)))
			}
		}
	}
	return errors.Join(errs...)
}
