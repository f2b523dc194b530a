package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// verdict is what came of a comparison: what differs first.
type verdict uint8

const (
	equal verdict = iota
	status
	headers
	body
	notCompared
	verdicts // how many there are
)

func (v verdict) String() string {
	return [...]string{"equal", "status", "headers", "body", "not_compared"}[v]
}

// rules say what is compared. They are immutable, but for the log's count.
type rules struct {
	all     bool     // all fields but those ignored
	fields  []string // else these
	ignored []string
	body    int64
	paths   []pattern
	values  bool
	logs    *perMinute
}

func newRules(c *Compare) (*rules, error) {
	r := &rules{
		all: slices.Contains(c.Headers, "*"), fields: c.Headers, ignored: c.IgnoreHeaders,
		body: c.Body.Bytes(), values: c.LogValues, logs: &perMinute{most: c.Log},
	}
	var errs []error
	for i, text := range c.IgnorePaths {
		p, err := parsePattern(text)
		errs = append(errs, unit.At(fmt.Sprintf("compare.ignore_paths[%d]", i), err))
		r.paths = append(r.paths, p)
	}
	return r, errors.Join(errs...)
}

// answer is what is kept of one.
type answer struct {
	status int
	header message.Header
	data   []byte
	whole  bool // the body was read to its end
	long   bool // it is longer than what is kept
}

// add keeps a further chunk of the body.
func (a *answer) add(chunk []byte, limit int64) {
	if a.long || len(chunk) == 0 {
		return
	}
	if int64(len(a.data)+len(chunk)) > limit {
		a.long, a.data = true, nil
		return
	}
	a.data = append(a.data, chunk...)
}

// comparison has both answers. The exchange fills client and says so by arrived; the goroutine
// of the copy has the rest.
type comparison struct {
	rules   *rules
	arrived chan struct{}
	client  answer
	unknown bool // the client's answer was none of an origin, or it ended early

	copy                  answer
	until                 time.Time // how long the client's answer is waited for
	method, path, request string    // for the log
}

// keep notes the head of the answer to the copy.
func (c *comparison) keep(x *message.Exchange) {
	c.copy.status, c.until = x.Response.Status, x.Deadline
	c.copy.header.CopyFrom(&x.Response.Header)
	c.method, c.path, c.request = x.Request.Method, x.Request.Path, x.Facts.RequestID
}

// watch notes what the client gets: the head now, the body while it is sent.
func (c *comparison) watch(x *message.Exchange, err error) {
	resp := &x.Response
	if err != nil || resp.Tunnel != nil {
		c.unknown = true
		close(c.arrived)
		return
	}
	c.client.status = resp.Status
	c.client.header.CopyFrom(&resp.Header)
	switch b := resp.Body.(type) {
	case nil:
		c.client.whole = true
		close(c.arrived)
	case *message.Bytes:
		c.client.add(b.Data(), c.rules.body)
		c.client.whole = true
		close(c.arrived)
	default:
		resp.Body = &watched{Body: b, comparison: c}
	}
}

// watched is the body of the client's answer, of which a copy is kept.
type watched struct {
	message.Body
	comparison *comparison
	over       bool
}

// Next implements message.Body.
func (w *watched) Next() ([]byte, error) {
	chunk, err := w.Body.Next()
	if w.over {
		return chunk, err
	}
	c := w.comparison
	switch {
	case err == io.EOF:
		c.client.whole = true
		w.end()
	case err != nil:
		w.end()
	default:
		if c.client.add(chunk, c.rules.body); c.client.long {
			w.end() // There is nothing more to learn.
		}
	}
	return chunk, err
}

// Ready implements message.Ready.
func (w *watched) Ready() bool {
	r, ok := w.Body.(message.Ready)
	return ok && r.Ready()
}

// Wait implements message.Waiter; a body that cannot wait is as good as ready.
func (w *watched) Wait(d time.Duration) bool {
	r, ok := w.Body.(message.Waiter)
	return !ok || r.Wait(d)
}

// Close implements message.Body.
func (w *watched) Close() error {
	if !w.over {
		// Whoever knows the length need not ask for the end.
		w.comparison.client.whole = int64(len(w.comparison.client.data)) == w.Body.Length()
		w.end()
	}
	return w.Body.Close()
}

func (w *watched) end() {
	w.over = true
	close(w.comparison.arrived)
}

// difference is what differs first, and where: the name of a field or a path in JSON.
type difference struct {
	verdict      verdict
	at           string
	client, copy string // the values there
}

// result compares, when both answers are there.
func (c *comparison) result() difference {
	client, copied := &c.client, &c.copy
	switch {
	case c.unknown:
		return difference{verdict: notCompared}
	case client.status != copied.status:
		return difference{verdict: status}
	}
	if d := c.headers(); d.verdict != equal {
		return d
	}
	switch {
	case c.rules.body == 0:
		return difference{}
	case !client.whole, client.long, copied.long:
		return difference{verdict: notCompared}
	}
	return c.bodies()
}

// headers compares the fields that are to be the same, in the order of their names.
func (c *comparison) headers() difference {
	names := c.rules.fields
	if c.rules.all {
		names = nil
		for _, h := range []*message.Header{&c.client.header, &c.copy.header} {
			for _, f := range h.Fields() {
				if !containsFold(c.rules.ignored, f.Name) && !containsFold(names, f.Name) {
					names = append(names, f.Name)
				}
			}
		}
		slices.SortFunc(names, func(a, b string) int { return strings.Compare(message.LowerASCII(a), message.LowerASCII(b)) })
	}
	for _, name := range names {
		a, b := c.client.header.Joined(name), c.copy.header.Joined(name)
		if a != b || c.client.header.Has(name) != c.copy.header.Has(name) {
			return difference{headers, message.LowerASCII(name), a, b}
		}
	}
	return difference{}
}

func containsFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return message.EqualFold(n, name) })
}

// bodies compares two that are there as a whole: JSON by its meaning, everything else byte by
// byte. What is compressed may differ and mean the same.
func (c *comparison) bodies() difference {
	if bytes.Equal(c.client.data, c.copy.data) {
		return difference{}
	}
	if c.client.header.Has("Content-Encoding") || c.copy.header.Has("Content-Encoding") {
		return difference{verdict: notCompared}
	}
	if isJSON(&c.client.header) && isJSON(&c.copy.header) {
		if d, ok := compareJSON(c.client.data, c.copy.data, c.rules.paths); ok {
			return d
		}
	}
	at := 0
	for at < len(c.client.data) && at < len(c.copy.data) && c.client.data[at] == c.copy.data[at] {
		at++
	}
	return difference{verdict: body, at: "byte " + strconv.Itoa(at)}
}

// isJSON says whether an answer is JSON, by its type (RFC 8259, RFC 6839 §3.1).
func isJSON(h *message.Header) bool {
	kind, _, _ := strings.Cut(message.LowerASCII(h.Get("Content-Type")), ";")
	kind = strings.TrimSpace(kind)
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// perMinute lets a number of lines a minute through.
type perMinute struct {
	most int

	mu    sync.Mutex
	from  int64 // when the minute began
	count int
}

func (p *perMinute) allow(now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from == 0 || now-p.from >= int64(time.Minute) {
		p.from, p.count = now, 0
	}
	p.count++
	return p.count <= p.most
}

// log writes where two answers differ.
func (m *mirror) log(c *comparison, d *difference) {
	line := []any{
		"route", m.route, "to", m.to.Name(), "method", c.method, "path", c.path, "request_id", c.request,
		"difference", d.verdict.String(), "status", c.client.status, "mirror_status", c.copy.status,
	}
	if d.at != "" {
		line = append(line, "at", shown(d.at))
	}
	if c.rules.values && d.verdict != status {
		line = append(line, "value", hidden(d.at, d.client), "mirror_value", hidden(d.at, d.copy))
	}
	m.logger.Info("answers differ", line...)
}
