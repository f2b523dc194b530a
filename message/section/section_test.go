package section

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// take makes a head of lines "name: value".
func take(kind Kind, lines string) (*Head, *message.Header) {
	h, fields := new(Head), new(message.Header)
	h.Begin(kind, fields, 400, 5)
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(line, "= "); ok {
			h.Take(name, value)
		}
	}
	h.End()
	return h, fields
}

const get = ":method= GET\n:scheme= https\n:authority= a.example.com\n:path= /a?b\n"

func TestRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines   string
		wrong   string // part of why it is malformed
		problem *message.Problem
	}{
		"plain":                 {lines: get},
		"no method":             {lines: get[len(":method= GET\n"):], wrong: ":method is missing"},
		"no path":               {lines: strings.Replace(get, ":path= /a?b\n", "", 1), wrong: ":path is missing"},
		"path without slash":    {lines: strings.Replace(get, "/a?b", "a", 1), wrong: "does not begin with a slash"},
		"upper case":            {lines: get + "A= b\n", wrong: "lower case"},
		"pseudo behind a field": {lines: "a= b\n" + get, wrong: "stands behind"},
		"pseudo twice":          {lines: get + ":path= /\n", wrong: "given twice"},
		"unknown pseudo":        {lines: ":foo= bar\n" + get, wrong: "not known"},
		"status in a request":   {lines: get + ":status= 200\n", wrong: "other kind"},
		"connection":            {lines: get + "connection= close\n", wrong: "HTTP/1"},
		"te gzip":               {lines: get + "te= gzip\n", wrong: "TE"},
		"length twice":          {lines: get + "content-length= 1\ncontent-length= 1\n", wrong: "twice"},
		"length with a sign":    {lines: get + "content-length= +1\n", wrong: "plain number"},
		"line break":            {lines: get + "a= b\rc\n", wrong: "control character"},
		"white space":           {lines: get + "a=  b\n", wrong: "white space"},
		"other host":            {lines: get + "host= b.example.com\n", problem: message.BadRequest},
		"same host":             {lines: get + "host= A.example.com\n"},
		"too many fields":       {lines: get + strings.Repeat("a= b\n", 7), problem: message.HeaderTooLarge},
		"too many bytes":        {lines: get + "a= " + strings.Repeat("b", 400) + "\n", problem: message.HeaderTooLarge},
		"target too long":       {lines: strings.Replace(get, "/a?b", "/"+strings.Repeat("a", 100), 1), problem: message.TargetTooLong},
		"fragment":              {lines: strings.Replace(get, "/a?b", "/a#b", 1), problem: message.BadRequest},
		"expectation":           {lines: get + "expect= tea\n", problem: message.ExpectationFailed},
		"connect":               {lines: ":method= CONNECT\n:authority= a.example.com:443\n", problem: message.ConnectRefused},
		"websocket":             {lines: strings.Replace(get, "GET", "CONNECT", 1) + ":protocol= websocket\n"},
		"another protocol":      {lines: strings.Replace(get, "GET", "CONNECT", 1) + ":protocol= bytes\n", problem: message.UnknownProtocol},
	} {
		h, fields := take(Request, c.lines)
		wrong := h.CheckRequest()
		if (wrong == "") != (c.wrong == "") || !strings.Contains(wrong, c.wrong) {
			t.Errorf("%s: %q, wanted %q", name, wrong, c.wrong)
		}
		if wrong != "" {
			continue
		}
		req := &message.Request{Header: *fields}
		problem := h.FillRequest(req, "HTTP/3", 50, true)
		if (problem == nil) != (c.problem == nil) || problem != nil && !problem.Is(c.problem) {
			t.Errorf("%s: %v, wanted %v", name, problem, c.problem)
		}
		if problem == nil && (req.Authority != "a.example.com" || req.RawPath != "/a" || !req.HasQuery || req.Query != "b" || req.Scheme != "https" || req.Protocol != "HTTP/3") {
			t.Errorf("%s: %+v", name, req)
		}
	}
}

func TestCookieCrumbs(t *testing.T) {
	t.Parallel()
	_, fields := take(Request, get+"cookie= a=b\nx= y\ncookie= c=d\n")
	if fields.Len() != 2 || fields.Get("cookie") != "a=b; c=d" {
		t.Error(fields.Fields())
	}
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	if h, fields := take(Trailer, "x-sum= 1\n"); h.Wrong != "" || fields.Get("x-sum") != "1" {
		t.Error(h.Wrong, fields.Fields())
	}
	if h, _ := take(Trailer, ":path= /\n"); h.Wrong == "" {
		t.Error("a pseudo-field in a trailer section")
	}
}

func TestConnectionField(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Connection": true, "upgrade": true, "Transfer-Encoding": true, "content-length": true, "proxy-connection": true,
		"http2-settings": true, "keep-alive": true, "trailer": true, "date": false, "x": false, "connectioN2": false,
	} {
		if ConnectionField(name) != want {
			t.Error(name)
		}
	}
}

// Fields behind the limit cost nothing, however often a block refers to a large one.
func TestFieldsBehindTheLimitAreNotLookedAt(t *testing.T) {
	t.Parallel()
	h, fields := take(Request, get+"a= "+strings.Repeat("b", 400)+"\na= b\rc\nA= b\n")
	if h.Wrong != "" || !h.TooLarge || fields.Len() != 0 {
		t.Errorf("%q, too large: %v, %d fields", h.Wrong, h.TooLarge, fields.Len())
	}
	if p := h.FillRequest(new(message.Request), "HTTP/2", 100, true); p != message.HeaderTooLarge {
		t.Errorf("%v", p)
	}
}

// BenchmarkBehindTheLimit is a block of 64 KiB whose bytes all refer to one entry of 4,000 bytes.
func BenchmarkBehindTheLimit(b *testing.B) {
	var h Head
	var fields message.Header
	value := strings.Repeat("b", 4000)
	for b.Loop() {
		fields.Reset()
		h.Begin(Request, &fields, 32<<10, 100)
		for range 64 << 10 {
			h.Take("a", value)
		}
		h.End()
	}
}
