package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"
)

// HTTP is the source that asks an HTTP server, again and again, for a document in
// the form of Prometheus' HTTP service discovery: a list of groups, each with
// targets and labels. The labels __weight__, __zone__, __priority__ and __scheme__
// say how the targets of a group are used; others are ignored.
type HTTP struct {
	Server
	Every       time.Duration // default 30s
	Secure      bool          // targets speak TLS, unless the label __scheme__ says otherwise
	AcceptEmpty bool          // an answer without targets empties the list
}

const defaultInterval = 30 * time.Second

// String is what is watched.
func (h *HTTP) String() string { return "http " + withoutSecrets(h.URL) }

// Watch is the method of Source.
func (h *HTTP) Watch(ctx context.Context, send func([]Endpoint), fault func(error)) {
	client := h.client()
	defer client.CloseIdleConnections()
	tag := ""
	watch(ctx, h.String(), func(ctx context.Context) (round, error) {
		r, newer, err := h.look(ctx, client, tag)
		tag = newer
		return r, err
	}, send, fault)
}

// look asks once; tag is that of the list in force. The tag of an answer that is
// refused is not kept: it must not be taken for good because it did not change.
func (h *HTTP) look(ctx context.Context, client *http.Client, tag string) (_ round, newer string, _ error) {
	var fields []Header
	if tag != "" {
		fields = append(fields, Header{"If-None-Match", tag})
	}
	response, body, err := h.get(ctx, client, h.URL, h.timeout(), fields...)
	if err != nil {
		return round{}, tag, err
	}
	every := h.Every
	if every <= 0 {
		every = defaultInterval
	}
	if response.StatusCode == http.StatusNotModified {
		if tag == "" {
			return round{}, "", errors.New("it answered 304, though it was not asked whether something changed")
		}
		return round{same: true, again: later(every)}, tag, nil
	}
	list, err := parseGroups(body, h.Secure)
	if err != nil {
		return round{}, "", err
	}
	list, note, err := complete(list, h.AcceptEmpty)
	if err != nil {
		return round{}, "", err
	}
	return round{list: list, note: note, again: later(every)}, response.Header.Get("ETag"), nil
}

// group is one element of the document.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// parseGroups reads the document.
func parseGroups(text []byte, secure bool) ([]Endpoint, error) {
	var groups []*group
	if err := json.Unmarshal(text, &groups); err != nil {
		return nil, notJSON(text, err)
	}
	if groups == nil {
		return nil, errors.New("it answered null: a list is expected, such as [{\"targets\": [\"10.0.0.7:8080\"]}]")
	}
	var list []Endpoint
	for i, g := range groups {
		if g == nil {
			return nil, fmt.Errorf("group %d is null", i+1)
		}
		e, err := g.endpoint(secure)
		if err != nil {
			return nil, fmt.Errorf("group %d: %w", i+1, err)
		}
		for _, target := range g.Targets {
			e.Address = target
			list = append(list, e)
		}
	}
	return list, nil
}

// endpoint is what the labels say of all targets of a group.
func (g *group) endpoint(secure bool) (Endpoint, error) {
	e := Endpoint{Secure: secure, Weight: 1, Zone: g.Labels["__zone__"]}
	for _, number := range []struct {
		label    string
		value    *int
		low, top int
	}{{"__weight__", &e.Weight, 1, MaxWeight}, {"__priority__", &e.Priority, 0, MaxPriority}} {
		text, ok := g.Labels[number.label]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < number.low || n > number.top {
			return e, fmt.Errorf("the label %s is %s: it must be a number from %d to %d", number.label, quote(text), number.low, number.top)
		}
		*number.value = n
	}
	switch scheme := g.Labels["__scheme__"]; scheme {
	case "":
	case "http", "https":
		e.Secure = scheme == "https"
	default:
		return e, fmt.Errorf("the label __scheme__ is %s: it must be http or https", quote(scheme))
	}
	return e, nil
}

// notJSON says where a text stops being what was expected.
func notJSON(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("its answer is not JSON: byte %d of %d: %w", syntax.Offset, len(text), err)
	case errors.As(err, &kind):
		return fmt.Errorf("its answer has not the expected form: byte %d: %s where %s is expected", kind.Offset, kind.Value, expected(kind.Type.Kind()))
	}
	return fmt.Errorf("its answer is not JSON: %w", err)
}

// expected is a kind of value in the words of JSON.
func expected(kind reflect.Kind) string {
	switch kind {
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "a whole number"
	}
	return "an object"
}
