package eventstream

import (
	"io"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
	"github.com/sluice-gateway/sluice/policy/policytest"
)

func TestContract(t *testing.T) { policytest.Run(t, Kind) }

// script is a body that sends pieces; an empty piece is a wait in vain.
type script struct {
	pieces []string
	length int64
	closed bool
	waited time.Duration
}

func (s *script) Wait(d time.Duration) bool {
	s.waited = d
	if len(s.pieces) > 0 && s.pieces[0] == "" {
		s.pieces = s.pieces[1:]
		return false
	}
	return true
}

func (s *script) Next() ([]byte, error) {
	if len(s.pieces) == 0 {
		return nil, io.EOF
	}
	p := s.pieces[0]
	s.pieces = s.pieces[1:]
	return []byte(p), nil
}

func (s *script) Ready() bool              { return len(s.pieces) > 0 && s.pieces[0] != "" }
func (s *script) Length() int64            { return s.length }
func (s *script) Trailer() *message.Header { return nil }
func (s *script) Close() error             { s.closed = true; return nil }

// unwaitable is a body that cannot be waited for.
type unwaitable struct{ message.Body }

func hooks(t testing.TB) policy.Hooks {
	t.Helper()
	return policytest.New(t, "policies: [{ event_stream: { keep_alive: 20s } }]", Kind).Hooks()
}

// answer makes an answer and takes it through the policy.
func answer(h policy.Hooks, status int, body message.Body, fields ...string) *message.Response {
	x := new(message.Exchange)
	x.Response.Status, x.Response.Body = status, body
	for i := 0; i < len(fields); i += 2 {
		x.Response.Header.Append(fields[i], fields[i+1])
	}
	h.OnResponse(x)
	return &x.Response
}

func TestComments(t *testing.T) {
	t.Parallel()
	h := hooks(t)
	for want, pieces := range map[string][]string{
		"":                              nil,
		":\n\n":                         {""},
		":\n\n:\n\ndata: 1\n\n":         {"", "", "data: 1\n\n"},
		"data: 1\n\n:\n\ndata: 2\n\n":   {"data: 1\n\n", "", "data: 2\n\n"},
		"data: 1\n\n:\n\n:\n\n":         {"data: 1", "\n", "\n", "", ""},
		"data: 1\n:\ndata: 2\n\n":       {"data: 1\n", "", "data: 2\n\n"}, // The event goes on.
		"data: 1\r\n\r\n:\n\n":          {"data: 1\r\n\r\n", ""},
		"data: 1\r\n:\n\r\n":            {"data: 1\r\n", "", "\r\n"},
		"data: 1\r\n\r\n:\n\nx":         {"data: 1\r\n\r", "", "\n", "", "x"}, // The other half of the line's end may come.
		"data: 1\r\r\n:\n\n":            {"data: 1\r\r", "", "\n", ""},
		"data: 1\n\r\n:\n\n":            {"data: 1\n\r\n", ""},
		"dat" + "a: 1\n\n":              {"dat", "", "a: 1\n\n"}, // Nothing may stand in a line.
		"\n:\ndata: 1":                  {"\n", "", "data: 1"},
		"data: a long line\n:\n\n:\n\n": {"data: a long line\n", "", "\n", ""},
	} {
		inner := &script{pieces: pieces, length: -1}
		r := answer(h, 200, inner, "Content-Type", "text/event-stream; charset=utf-8")
		got, err := message.ReadAll(r.Body, 1000)
		if string(got) != want || err != nil || inner.waited != 20*time.Second {
			t.Errorf("%q became %q, %v", pieces, got, err)
		}
		if r.CloseBody(); !inner.closed {
			t.Error("the body stays open")
		}
	}
}

func TestLeavesAlone(t *testing.T) {
	t.Parallel()
	h := hooks(t)
	for name, r := range map[string]*message.Response{
		"other type":   answer(h, 200, &script{length: -1}, "Content-Type", "text/plain"),
		"no type":      answer(h, 200, &script{length: -1}),
		"other status": answer(h, 206, &script{length: -1}, "Content-Type", "text/event-stream"),
		"a length":     answer(h, 200, &script{length: 7}, "Content-Type", "text/event-stream"),
		"encoded":      answer(h, 200, &script{length: -1}, "Content-Type", "text/event-stream", "Content-Encoding", "gzip"),
		"changed":      answer(h, 200, unwaitable{&script{length: -1}}, "Content-Type", "text/event-stream"),
	} {
		if _, ours := r.Body.(*stream); ours || r.Body == nil {
			t.Errorf("%s: %T", name, r.Body)
		}
	}
	if r := answer(h, 200, nil, "Content-Type", "text/event-stream"); r.Body != nil {
		t.Errorf("no body: %T", r.Body)
	}
	r := answer(h, 200, &script{length: -1, pieces: []string{"a", ""}}, "Content-Type", "TEXT/Event-Stream", "Content-Encoding", "identity")
	if s, ours := r.Body.(*stream); !ours || !s.Ready() || s.Length() != -1 || s.Trailer() != nil {
		t.Errorf("%T", r.Body)
	}
}
