package certificates

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/sluice-gateway/sluice/message"
)

// resumes says whether a client with these sessions resumes one.
func resumes(t *testing.T, s *Store, c *tls.Config) bool {
	t.Helper()
	state := ok(t, s.Config(), c)
	if state.client.DidResume != message.TLSOf(&state.server).Resumed {
		t.Fatal("the two ends do not agree")
	}
	return state.client.DidResume
}

func TestTickets(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root := newAuthority("Root", nil)
			f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
			clk := newClock()
			s := open(t, Spec{Files: []Files{f}}, Env{Now: clk.now})
			fresh := func() *tls.Config {
				return &tls.Config{RootCAs: root.pool(), ServerName: "a.example.com", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			}
			// keep has a ticket of the first key, and is not given another one: each look
			// works on a copy.
			first := &lastTicket{}
			old := fresh()
			old.ClientSessionCache = first
			if resumes(t, s, old) {
				t.Fatal("resumed from nothing")
			}
			first.frozen = true
			if !resumes(t, s, old) {
				t.Fatal("not resumed")
			}
			// A reload of the configuration, and of the certificate.
			apply(t, s, Spec{Files: []Files{f}, Protocols: []string{"h2"}, RefuseUnknown: true})
			if !resumes(t, s, old) {
				t.Fatal("a reload of the configuration has lost the keys")
			}
			root.files(t, dir, "a", leaf{names: []string{"a.example.com"}})
			s.Refresh()
			if !resumes(t, s, old) {
				t.Fatal("a reload of the certificate has lost the keys")
			}
			// Two rotations later the ticket still works, three later it does not.
			for i := range ticketKeys {
				clk.add(ticketAge)
				s.Refresh()
				if got, want := resumes(t, s, old), i+1 < ticketKeys; got != want {
					t.Fatalf("after %d rotations: resumed %v", i+1, got)
				}
				c := fresh()
				if resumes(t, s, c) || !resumes(t, s, c) {
					t.Fatal("a new session is not resumed")
				}
			}
		})
	}
}

// lastTicket keeps one session; a frozen one takes no other.
type lastTicket struct {
	state  *tls.ClientSessionState
	frozen bool
}

func (l *lastTicket) Get(string) (*tls.ClientSessionState, bool) { return l.state, l.state != nil }
func (l *lastTicket) Put(_ string, s *tls.ClientSessionState) {
	if !l.frozen && s != nil {
		l.state = s
	}
}

func TestTicketsOfAnotherListener(t *testing.T) {
	t.Parallel()
	root := newAuthority("Root", nil)
	f := root.files(t, t.TempDir(), "a", leaf{names: []string{"a.example.com"}})
	one, two := open(t, Spec{Files: []Files{f}}, Env{}), open(t, Spec{Files: []Files{f}}, Env{})
	c := &tls.Config{RootCAs: root.pool(), ServerName: "a.example.com", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	if resumes(t, one, c) || resumes(t, two, c) {
		t.Error("a session of one listener is resumed at another")
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	var k tickets
	at := time.Now()
	if !k.rotate(at) || k.rotate(at) || k.rotate(at.Add(ticketAge-1)) {
		t.Fatal("not once an age")
	}
	first := k.keys()[0]
	for i := 1; i < ticketKeys; i++ {
		at = at.Add(ticketAge)
		if !k.rotate(at) || k.keys()[i] != first || len(k.keys()) != i+1 {
			t.Fatalf("%d: %d keys", i, len(k.keys()))
		}
	}
	at = at.Add(ticketAge)
	if !k.rotate(at) || len(k.keys()) != ticketKeys {
		t.Fatal("the oldest is not forgotten")
	}
	for _, key := range k.keys() {
		if key == first {
			t.Fatal("the oldest is not forgotten")
		}
	}
	// A machine that slept for a week.
	if at = at.Add(7 * 24 * time.Hour); !k.rotate(at) || len(k.keys()) != 1 {
		t.Fatal("keys of last week are in use")
	}
}
