package grpchealth

import (
	"errors"
	"strings"
	"testing"
)

func TestAppendRequest(t *testing.T) {
	t.Parallel()
	for service, want := range map[string]string{
		"":                       "\x00\x00\x00\x00\x00",
		"a.B":                    "\x00\x00\x00\x00\x05\x0a\x03a.B",
		strings.Repeat("x", 300): "\x00\x00\x00\x01\x2f\x0a\xac\x02" + strings.Repeat("x", 300),
	} {
		if got := AppendRequest([]byte("before"), service); string(got) != "before"+want {
			t.Errorf("%q is asked for by %q", service, got)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, body string
		want       Status
		wrong      string
	}{
		{"0", "\x00\x00\x00\x00\x02\x08\x01", Serving, ""},
		{"0", "\x00\x00\x00\x00\x02\x08\x02", NotServing, ""},
		{"0", "\x00\x00\x00\x00\x02\x08\x03", ServiceUnknown, ""},
		{"0", "\x00\x00\x00\x00\x02\x08\x07", Unknown, ""},
		{"0", "\x00\x00\x00\x00\x00", Unknown, ""},
		{"0", "\x00\x00\x00\x00\x04\x08\x02\x08\x01", Serving, ""},
		{"0", "\x00\x00\x00\x00\x15\x12\x03abc\x08\x01\x19\x01\x02\x03\x04\x05\x06\x07\x08\x25\x01\x02\x03\x04", Serving, ""},
		{"0", "\x00\x00\x00\x00\x06\x0a\x01a\x10\x02\x08", Unknown, "ends early"},
		{"0", "", Unknown, "ends early"},
		{"0", "\x00\x00\x00\x00", Unknown, "ends early"},
		{"0", "\x00\x00\x00\x00\x02\x08", Unknown, "ends early"},
		{"0", "\x00\xff\xff\xff\xff\x08\x01", Unknown, "ends early"},
		{"0", "\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x02", Unknown, "more than one message"},
		{"0", "\x01\x00\x00\x00\x02\x08\x01", Unknown, "compressed"},
		{"0", "\x00\x00\x00\x00\x02\x00\x01", Unknown, "protocol buffers"},
		{"0", "\x00\x00\x00\x00\x02\x0b\x01", Unknown, "wire type 3"},
		{"0", "\x00\x00\x00\x00\x04\x12\x09ab", Unknown, "ends early"},
		{"0", "\x00\x00\x00\x00\x02\x19\x01", Unknown, "ends early"},
		{"0", strings.Repeat("\x00", MaxAnswer+1), Unknown, "more than 1024 bytes"},
		{"5", "", ServiceUnknown, ""},
		{"12", "", Unknown, "has no health service"},
		{"14", "", Unknown, `status "14": "why"`},
		{"", "\x00\x00\x00\x00\x02\x08\x01", Unknown, "no grpc-status"},
	} {
		got, err := Read(c.code, "why", []byte(c.body))
		if got != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("status %q with %q is %v, %v", c.code, c.body, got, err)
		}
	}
	if _, err := Read("12", "", nil); !errors.Is(err, ErrUnimplemented) {
		t.Errorf("the error is %v", err)
	}
	for status, want := range map[Status]string{Unknown: "unknown", Serving: "serving", NotServing: "not serving", ServiceUnknown: "service unknown"} {
		if status.String() != want {
			t.Errorf("%d is %q", status, status)
		}
	}
}

// FuzzRead reads anything: it may not panic, and what is too short is no answer.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\x00\x00\x00\x00\x07\x12\x03abc\x08\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		status, err := Read("0", "", body)
		if err != nil && status != Unknown || err == nil && len(body) < frameHead || status > ServiceUnknown {
			t.Errorf("%q is %v, %v", body, status, err)
		}
	})
}
