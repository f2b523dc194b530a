// Package respond answers requests itself, with a fixed status, fixed fields and a small body.
//
// Everything is put together when the configuration is compiled; only a template
// with variables is filled for each request.
package respond

import (
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sluice-gateway/sluice/internal/reserved"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/target"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the target respond.
var Kind = target.Define("respond", files, build)

// Limits of one answer.
const (
	MaxBody   = 1 << 20 // bytes, before variables are filled in
	MaxFields = 100
)

// answer is one respond target.
type answer struct {
	status int
	fields []field
	fixed  []byte             // a body without variables
	filled *template.Template // or one with variables
}

type field struct {
	name  string
	value *template.Template
}

func build(c *Config, env *target.Env) (target.Handler, error) {
	a := &answer{status: c.Status}
	if c.Status < 200 || c.Status > 599 {
		return target.Handler{}, unit.At("status", fmt.Errorf("%d is no status of an answer: write 200 to 599", c.Status))
	}
	contentType, fieldErr := a.compileFields(c.Headers)
	fitting, bodyErr := a.compileBody(c, contentType, env)
	if err := errors.Join(fieldErr, bodyErr); err != nil {
		return target.Handler{}, err
	}
	if contentType == "" && fitting != "" {
		a.fields = append(a.fields, field{"Content-Type", template.Literal(fitting)})
	}
	return target.Handler{Serve: a.serve}, nil
}

// serve costs no allocation where nothing has variables; a body that has some costs
// one or two. The body of an answer to HEAD is left to the wire, which announces its
// length and does not send it.
func (a *answer) serve(x *message.Exchange) error {
	x.Response.Status = a.status
	for i := range a.fields {
		f := &a.fields[i]
		if value := f.value.String(x); value != "" {
			x.Response.Header.Set(f.name, value)
		}
	}
	switch {
	case a.filled != nil:
		x.Response.SetBody(a.filled.Append(make([]byte, 0, 512), x))
	case a.fixed != nil:
		x.Response.SetBody(a.fixed)
	}
	return nil
}

// compileFields reads the fields and returns the content type among them.
func (a *answer) compileFields(fields unit.Map[string]) (contentType string, err error) {
	if len(fields) > MaxFields {
		return "", unit.At("headers", fmt.Errorf("%d fields; the limit is %d", len(fields), MaxFields))
	}
	var errs []error
	for i, e := range fields {
		t, err := compileField(e.Key, e.Value)
		for _, before := range fields[:i] {
			if message.EqualFold(before.Key, e.Key) {
				err = fmt.Errorf("the field is given twice, as %s before: names are compared without regard to case", before.Key)
			}
		}
		if err != nil {
			errs = append(errs, unit.At(`headers["`+e.Key+`"]`, err))
			continue
		}
		if message.EqualFold(e.Key, "Content-Type") {
			contentType = t.Shape()
		}
		a.fields = append(a.fields, field{e.Key, t})
	}
	return contentType, errors.Join(errs...)
}

func compileField(name, value string) (*template.Template, error) {
	if !message.ValidName(name) {
		return nil, fmt.Errorf("%q is no header name: use letters, digits and hyphens", name)
	}
	if why := reserved.Why(name); why != "" {
		return nil, fmt.Errorf("%s cannot be set here: %s", name, why)
	}
	if value == "" {
		return nil, errors.New("the value is empty: leave the field out")
	}
	if !message.ValidValue(value) || message.TrimOWS(value) != value {
		return nil, errors.New("the value has a control character, or a space at an end: a field cannot carry it")
	}
	t, err := template.Parse(value, template.Use{})
	if err == nil && !t.IsLiteral() && message.EqualFold(name, "Content-Type") {
		// It decides how values in the body are escaped.
		return nil, errors.New("the content type cannot have variables: write it out")
	}
	return t, err
}

// compileBody reads the one body that is given and returns the content type that
// fits it. Values in it are escaped for the content type that is sent.
func (a *answer) compileBody(c *Config, contentType string, env *target.Env) (fitting string, err error) {
	key, text := "body", c.Body
	switch given := count(c.Body != "", c.JSON != nil, c.File != ""); {
	case given == 0:
		return "", nil
	case given > 1:
		return "", errors.New("only one of body, json and file can be the body: remove the others")
	case c.Status == 204 || c.Status == 205 || c.Status == 304:
		return "", fmt.Errorf("an answer with status %d has no body (RFC 9110 §15): remove the body or choose another status", c.Status)
	}
	switch {
	case c.File != "":
		fitting = typeOf(filepath.Ext(c.File))
		a.fixed, err = read(env.File(c.File))
		return fitting, unit.At("file", err)
	case c.JSON != nil:
		key, text, fitting = "json", c.JSON.String(), "application/json"
	default:
		fitting = "text/plain; charset=utf-8"
	}
	escape := escapeFor(contentType)
	if key == "json" {
		escape = template.JSON
	}
	if len(text) > MaxBody {
		return "", unit.At(key, fmt.Errorf("%d bytes; the limit is %d", len(text), MaxBody))
	}
	t, err := template.Parse(text, template.Use{Loose: true, Escape: escape})
	if err != nil {
		return "", unit.At(key, err)
	}
	if t.IsLiteral() {
		a.fixed = []byte(t.Shape())
		return fitting, nil
	}
	a.filled = t
	return fitting, nil
}

// escapeFor chooses how values are written into a body, so that nothing that a
// client sends becomes markup.
func escapeFor(contentType string) template.Escape {
	kind, _, _ := strings.Cut(message.LowerASCII(contentType), ";")
	switch {
	case strings.Contains(kind, "json"):
		return template.JSON
	case strings.Contains(kind, "html"), strings.Contains(kind, "xml"):
		return template.HTML
	}
	return template.AsIs
}

func count(claims ...bool) int {
	n := 0
	for _, claim := range claims {
		if claim {
			n++
		}
	}
	return n
}
