package http1

import (
	"io"
	"testing"

	"github.com/sluice-gateway/sluice/internal/attempt"
	"github.com/sluice-gateway/sluice/message"
)

// TestStopBody answers before the request's body has come to its end, as an origin may, and
// looks at what becomes of the connection.
func TestStopBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		first string // of the body, before it is stopped
		rest  string // and behind that
		keeps bool
	}{
		{"nobody was waiting for more", "5\r\nhello\r\n", "0\r\n\r\n", true},
		{"nothing more was to come", "5\r\nhello\r\n0\r\n\r\n", "", true},
		{"a chunk and the end", "5\r\nhello\r\n", "3\r\nyou\r\n0\r\n\r\n", true},
		{"the rest is no body", "5\r\nhello\r\n", "what?\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			attempt.Run(t, discardTime, func(t *attempt.T) {
				stopped := make(chan struct{})
				g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
					if x.Request.Method == "GET" {
						_ = say(x, 200, "again")
						return
					}
					x.Wire().LendBody()
					read := make(chan error)
					go func() { // Who sends the body on.
						chunk, err := x.Request.Body.Next()
						if string(chunk) != "hello" {
							t.Errorf("the body begins with %q", chunk)
						}
						read <- err
					}()
					if err := <-read; err != nil {
						t.Error(err)
					}
					x.Wire().StopBody()
					x.Wire().ReturnBody()
					close(stopped)
					_ = say(x, 401, "no")
				}))
				p := g.dial()
				p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + c.first)
				<-stopped
				p.send(c.rest)
				p.wants("401", "no")
				if c.keeps {
					p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("200", "again")
					return
				}
				p.closed()
			})
		})
	}
}

// TestStopBodyBeforeItIsRead stops somebody who is about to ask for the end of a body, which is
// there.
func TestStopBodyBeforeItIsRead(t *testing.T) {
	t.Parallel()
	begun, sent := make(chan struct{}), make(chan struct{})
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		if x.Request.Method == "GET" {
			_ = say(x, 200, "again")
			return
		}
		x.Wire().LendBody()
		if chunk, err := x.Request.Body.Next(); string(chunk) != "hello" || err != nil {
			t.Errorf("the body begins with %q: %v", chunk, err)
		}
		close(begun)
		<-sent // Nobody reads meanwhile.
		x.Wire().StopBody()
		if chunk, err := x.Request.Body.Next(); err != io.EOF {
			t.Errorf("the body goes on with %q: %v", chunk, err)
		}
		x.Wire().ReturnBody()
		_ = say(x, 401, "no")
	}))
	p := g.dial()
	p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	<-begun
	p.send("0\r\n\r\n")
	close(sent)
	p.wants("401", "no")
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").wants("200", "again")
}

// TestStopBodyInTheMiddle stops somebody who waits for more of a body: the rest of that has a
// moment to come, and if it does not, the connection ends.
func TestStopBodyInTheMiddle(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Wire().LendBody()
		began, read := make(chan struct{}), make(chan error)
		go func() {
			_, err := x.Request.Body.Next()
			close(began)
			if err == nil {
				_, err = x.Request.Body.Next()
			}
			read <- err
		}()
		<-began
		x.Wire().StopBody()
		failed <- <-read
		x.Wire().ReturnBody()
		_ = say(x, 401, "no")
	}))
	p := g.dial()
	p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	if head := p.wants("401", "no"); head == "" {
		t.Error("no answer")
	}
	if err := <-failed; err == nil || err == io.EOF {
		t.Errorf("the body ended with %v", err)
	}
	p.closed()
}
