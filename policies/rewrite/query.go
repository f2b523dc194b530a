package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/internal/rawquery"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/template"
	"github.com/sluice-gateway/sluice/unit"
)

// MaxParameters is how many parameters one policy sets or removes.
const MaxParameters = 100

// queryRule is what changes in a query; parameters that it does not name keep
// their bytes and their order.
type queryRule struct {
	gone []string // removed, or set anew
	set  []parameter
}

type parameter struct {
	key   string // encoded, with its "="
	value *template.Template
}

// compileQuery returns nil where nothing changes the query.
func compileQuery(c *Query) (*queryRule, error) {
	if len(c.Remove)+len(c.Set) == 0 {
		return nil, nil
	}
	if n := len(c.Remove) + len(c.Set); n > MaxParameters {
		return nil, unit.At("query", fmt.Errorf("%d parameters; the limit is %d", n, MaxParameters))
	}
	r := &queryRule{}
	var errs []error
	for i, name := range c.Remove {
		if name == "" {
			errs = append(errs, unit.Problem(fmt.Sprintf("query.remove[%d]", i), "the name of the parameter is empty"))
		}
		r.gone = append(r.gone, name)
	}
	for _, e := range c.Set {
		place := `query.set["` + e.Key + `"]`
		if slices.Contains(r.gone, e.Key) {
			errs = append(errs, unit.Problem(place, "the parameter is removed too: set replaces what is there, so leave it out of remove"))
			continue
		}
		if e.Value == "" {
			errs = append(errs, unit.Problem(place, "the value is empty: to remove a parameter, name it under remove"))
			continue
		}
		value, err := template.Parse(e.Value, template.Use{})
		if err != nil {
			errs = append(errs, unit.At(place, err))
			continue
		}
		r.gone = append(r.gone, e.Key)
		r.set = append(r.set, parameter{string(rawquery.AppendEncoded(nil, e.Key)) + "=", value})
	}
	return r, errors.Join(errs...)
}

// rewrite returns the new query: the same string where nothing changes.
func (r *queryRule) rewrite(x *message.Exchange) string {
	query := x.Request.Query
	if len(r.set) == 0 && !r.touches(query) {
		return query
	}
	var room, scratch [512]byte
	out := room[:0]
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if r.takes(pair) {
			continue
		}
		out = append(and(out), pair...)
	}
	for i := range r.set {
		p := &r.set[i]
		if value := p.value.Append(scratch[:0], x); len(value) > 0 {
			out = rawquery.AppendEncoded(append(and(out), p.key...), value)
		}
	}
	return string(out)
}

// and separates parameters.
func and(query []byte) []byte {
	if len(query) == 0 {
		return query
	}
	return append(query, '&')
}

// touches says whether a parameter of the query goes.
func (r *queryRule) touches(query string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if r.takes(pair) {
			return true
		}
	}
	return false
}

func (r *queryRule) takes(pair string) bool {
	key, _, _ := strings.Cut(pair, "=")
	for _, name := range r.gone {
		if rawquery.Means(key, name) {
			return true
		}
	}
	return false
}
