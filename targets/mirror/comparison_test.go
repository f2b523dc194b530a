package mirror

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// reply is an answer of a test.
type reply struct {
	status int
	fields string // "A: b, C: d"
	body   string
	stream message.Body
}

func (r reply) serve(x *message.Exchange) error {
	x.Response.Status = r.status
	for field := range strings.SplitSeq(r.fields, ", ") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			x.Response.Header.Add(name, value)
		}
	}
	switch {
	case r.stream != nil:
		x.Response.SetStream(r.stream)
	case r.body != "":
		x.Response.SetBody([]byte(r.body))
	}
	return nil
}

// send is what a wire does with an answer.
func send(x *message.Exchange) (string, error) {
	defer x.Response.CloseBody()
	data, err := message.ReadAll(x.Response.Body, 1<<20)
	return string(data), err
}

func streamOf(length int64, err error, list ...string) *pieces {
	return &pieces{list, length, err, false}
}

func TestComparison(t *testing.T) {
	t.Parallel()
	const asJSON = "Content-Type: application/json"
	for name, test := range map[string]struct {
		more           string
		client, mirror reply
		want           string
	}{
		"equal":                   {"", reply{200, "", "a", nil}, reply{200, "", "a", nil}, "equal"},
		"nothing":                 {"", reply{204, "", "", nil}, reply{204, "", "", nil}, "equal"},
		"status":                  {"", reply{200, "", "a", nil}, reply{201, "", "a", nil}, "status"},
		"field":                   {"", reply{200, "Content-Type: a", "a", nil}, reply{200, "content-type: b", "a", nil}, "headers"},
		"field is missing":        {"", reply{200, "Content-Type: a", "a", nil}, reply{200, "", "a", nil}, "headers"},
		"another field":           {"", reply{200, "X-A: a", "a", nil}, reply{200, "X-A: b", "a", nil}, "equal"},
		"a chosen field":          {"headers: x-a", reply{200, "X-A: a", "a", nil}, reply{200, "X-A: b", "a", nil}, "headers"},
		"all fields":              {"headers: '*'", reply{200, "X-A: a, Date: 1", "a", nil}, reply{200, "date: 2", "a", nil}, "headers"},
		"all fields, other order": {"headers: '*'", reply{200, "X-A: a, Date: 1, B: c", "a", nil}, reply{200, "b: c, x-a: a", "a", nil}, "equal"},
		"all but ignored":         {"headers: '*', ignore_headers: [X-B]", reply{200, "X-B: a", "a", nil}, reply{200, "", "a", nil}, "equal"},
		"several of one name":     {"headers: x-a", reply{200, "X-A: a, X-A: b", "a", nil}, reply{200, "X-A: b, X-A: a", "a", nil}, "headers"},
		"bytes":                   {"", reply{200, "", "abc", nil}, reply{200, "", "abd", nil}, "body"},
		"bytes, one is longer":    {"", reply{200, "", "abc", nil}, reply{200, "", "ab", nil}, "body"},
		"no body":                 {"", reply{200, "", "abc", nil}, reply{200, "", "", nil}, "body"},
		"bodies do not matter":    {"body: 0B", reply{200, "", "abc", nil}, reply{200, "", "b", nil}, "equal"},
		"JSON":                    {"", reply{200, asJSON, `{"a":1,"b":[2]}`, nil}, reply{200, asJSON, "{ \"b\" : [2.0],\n\"a\":1e0 }", nil}, "equal"},
		"JSON that differs":       {"", reply{200, asJSON, `{"a":1}`, nil}, reply{200, asJSON, `{"a":2}`, nil}, "body"},
		"JSON, ignored":           {"ignore_paths: a", reply{200, asJSON, `{"a":1}`, nil}, reply{200, asJSON, `{"a":2}`, nil}, "equal"},
		"JSON of another type":    {"", reply{200, "Content-Type: application/problem+json; a=b", `{"a":1}`, nil}, reply{200, "Content-Type: application/problem+json; a=b", `{ "a":1}`, nil}, "equal"},
		"no JSON":                 {"", reply{200, "Content-Type: text/plain", `{"a":1}`, nil}, reply{200, "Content-Type: text/plain", `{ "a":1}`, nil}, "body"},
		"not JSON after all":      {"", reply{200, asJSON, `{"a":1`, nil}, reply{200, asJSON, `{"a" :1`, nil}, "body"},
		"compressed, equal":       {"", reply{200, "Content-Encoding: gzip", "abc", nil}, reply{200, "Content-Encoding: gzip", "abc", nil}, "equal"},
		"compressed":              {"", reply{200, "Content-Encoding: gzip", "abc", nil}, reply{200, "Content-Encoding: gzip", "abd", nil}, "not_compared"},
		"compressed on one side":  {"", reply{200, "Content-Encoding: gzip", "abc", nil}, reply{200, "", "abd", nil}, "not_compared"},
		"too long":                {"body: 2B", reply{200, "", "abc", nil}, reply{200, "", "abc", nil}, "not_compared"},
		"the copy is too long":    {"body: 2B", reply{200, "", "ab", nil}, reply{200, "", "abc", nil}, "not_compared"},
		"too long, other status":  {"body: 2B", reply{200, "", "abc", nil}, reply{500, "", "abc", nil}, "status"},
		"streams":                 {"", reply{200, "", "", streamOf(-1, io.EOF, "ab", "c")}, reply{200, "", "", streamOf(3, io.EOF, "a", "bc")}, "equal"},
		"a stream that is cut":    {"", reply{200, "", "", streamOf(5, message.UpstreamBodyBroken, "ab", "c")}, reply{200, "", "abc", nil}, "not_compared"},
		"a stream that is long":   {"body: 2B", reply{200, "", "", streamOf(-1, io.EOF, "ab", "c", "d")}, reply{200, "", "abc", nil}, "not_compared"},
		"the gateway fills a gap": {"", reply{101, "", "", nil}, reply{200, "", "", nil}, "not_compared"},
	} {
		client := test.client.serve
		if test.client.status == 101 {
			client = func(*message.Exchange) error { return message.UpstreamConnect }
		}
		r := newRig(t, ", compare: { "+test.more+" }", client, test.mirror.serve)
		x := arrived("GET", nil)
		if err := r.serve(x); err == nil {
			want := test.client.body
			if s, ok := test.client.stream.(*pieces); ok {
				want = strings.Join(s.list, "")
			}
			if got, err := send(x); got != want && err == nil {
				t.Errorf("%s: the client gets %q, %v, want %q", name, got, err, want)
			}
		}
		r.end()
		if text, want := r.text(), "comparisons "+test.want+", requests answered"; text != want {
			t.Errorf("%s: counted %s, want %s", name, text, want)
		}
		logged := strings.Contains(r.log.String(), "answers differ")
		if differs := test.want != "equal" && test.want != "not_compared"; logged != differs {
			t.Errorf("%s: logged %q", name, r.log.String())
		}
	}
}

// What sends the answer may know its length and not ask for its end, close it early, or not
// at all.
func TestAnswersThatAreNotReadToTheirEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		length int64
		reads  int
		close  bool
		want   string
	}{
		"all that is announced": {4, 2, true, "equal"},
		"a part":                {4, 1, true, "not_compared"},
		"no known length":       {-1, 2, true, "not_compared"},
		"never closed":          {4, 1, false, "not_compared"},
	} {
		more := ", compare: {}"
		if !test.close {
			more = ", timeout: 20ms, compare: {}"
		}
		r := newRig(t, more, reply{200, "", "", streamOf(test.length, errors.New("asked"), "ab", "cd", "e")}.serve, reply{200, "", "abcd", nil}.serve)
		x := arrived("GET", nil)
		if err := r.serve(x); err != nil {
			t.Error(err)
		}
		for range test.reads {
			if _, err := x.Response.Body.Next(); err != nil {
				t.Error(err)
			}
		}
		if test.close {
			x.Response.CloseBody()
		}
		r.end()
		if text, want := r.text(), "comparisons "+test.want+", requests answered"; text != want {
			t.Errorf("%s: counted %s, want %s", name, text, want)
		}
	}
}

// A copy that waits for the answer to the client ends with the target.
func TestWaitingIsBrokenOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, ", timeout: 10m, compare: {}", reply{200, "", "", streamOf(-1, io.EOF, "ab")}.serve, reply{200, "", "ab", nil}.serve)
	if err := r.serve(arrived("GET", nil)); err != nil {
		t.Error(err)
	}
	r.breakOff() // It may break the copy off before it has begun.
	if text := r.text(); text != "comparisons not_compared, requests answered" && text != "" {
		t.Errorf("counted %s", text)
	}
}

// plain is a body that can do nothing more than it must.
type plain struct{ message.Body }

func TestWrappersPassOn(t *testing.T) {
	t.Parallel()
	ready := streamOf(1, io.EOF, "a")
	for _, body := range []message.Body{&watched{Body: ready}, &tee{Body: ready}} {
		if !body.(message.Ready).Ready() || body.Length() != 1 {
			t.Errorf("%T does not pass on", body)
		}
	}
	for _, body := range []message.Body{&watched{Body: plain{ready}}, &tee{Body: plain{ready}}} {
		if body.(message.Ready).Ready() {
			t.Errorf("%T is ready without knowing it", body)
		}
	}
	if !(&watched{Body: ready}).Wait(time.Hour) {
		t.Error("a body that cannot wait is not as good as ready")
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 100)
	const asJSON = "Content-Type: application/json"
	for name, test := range map[string]struct {
		more           string
		client, mirror reply
		want, lacks    string
	}{
		"status": {"", reply{200, "", "a", nil}, reply{500, "", "a", nil},
			`msg="answers differ" route=r to=b method=GET path=/a request_id=17 difference=status status=200 mirror_status=500`, " at="},
		"place": {"", reply{200, asJSON, `{"a":{"b":["secret one"]}}`, nil}, reply{200, asJSON, `{"a":{"b":["secret two"]}}`, nil},
			`difference=body status=200 mirror_status=200 at=a.b[0]`, "secret"},
		"values": {"log_values: true", reply{200, asJSON, `{"a":{"b":["one"]}}`, nil}, reply{200, asJSON, `{"a":{"b":[{}]}}`, nil},
			`at=a.b[0] value="\"one\"" mirror_value=(object)`, ""},
		"absent": {"log_values: true", reply{200, asJSON, `{"a":[1]}`, nil}, reply{200, asJSON, `{"a":[1,null]}`, nil},
			`at=a[1] value=(absent) mirror_value=null`, ""},
		"values are cut": {"log_values: true", reply{200, asJSON, `"` + long + `"`, nil}, reply{200, asJSON, `1`, nil},
			`at=$ value="\"` + strings.Repeat("ä", 63) + `…" mirror_value=1`, strings.Repeat("ä", 64)},
		"credentials in JSON": {"log_values: true", reply{200, asJSON, `{"access_token":"one"}`, nil}, reply{200, asJSON, `{"access_token":"two"}`, nil},
			`at=access_token value=*** mirror_value=***`, "two"},
		"cookies": {"log_values: true, headers: Set-Cookie", reply{200, "Set-Cookie: a=one", "", nil}, reply{200, "Set-Cookie: a=two", "", nil},
			`at=set-cookie value=*** mirror_value=***`, "one"},
		"bytes": {"log_values: true", reply{200, "", "abc", nil}, reply{200, "", "abd", nil}, `at="byte 2"`, "abc"},
		"none":  {"log: 0", reply{200, "", "a", nil}, reply{500, "", "a", nil}, "", "answers"},
	} {
		r := newRig(t, ", compare: { "+test.more+" }", test.client.serve, test.mirror.serve)
		x := arrived("GET", nil)
		x.Facts.RequestID = "17"
		if err := r.serve(x); err != nil {
			t.Error(err)
		}
		r.end()
		log := r.log.String()
		if !strings.Contains(log, test.want) || test.lacks != "" && strings.Contains(log, test.lacks) {
			t.Errorf("%s: logged %s\nwant %s", name, log, test.want)
		}
	}
}

func TestPerMinute(t *testing.T) {
	t.Parallel()
	p := &perMinute{most: 2}
	now := int64(time.Hour)
	for i, want := range []bool{true, true, false, false} {
		if got := p.allow(now + int64(i)); got != want {
			t.Errorf("line %d: %t", i+1, got)
		}
	}
	if !p.allow(now+int64(time.Minute)) || (&perMinute{}).allow(now) {
		t.Error("another minute, or none at all")
	}
}
