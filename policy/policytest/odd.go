package policytest

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/sluice-gateway/sluice/message"
)

// oddAnswer is what came of one odd request.
type oddAnswer struct {
	name   string
	answer *Answer
	err    error
}

// oddAnswers sends all odd requests, three at a time so that the race detector has
// something to see, against origins that answer oddly too.
func oddAnswers(g *Gateway) []oddAnswer {
	names := []string{"A", "authorization", "cookie", "origin", "content-type", "content-encoding", "accept-encoding",
		"x-api-key", "x-request-id", "x-forwarded-for", "access-control-request-method", "range", "if-none-match"}
	values := []string{"", " ", ",", ";", "=", "\"", "\\", "*", "\xff\xfe", "é", "0", "-1", "Basic", "Basic ====", "Bearer ",
		"gzip;q=0, *;q=2, identity;q=", "null", "%00", "a=b; a=c; ;=", strings.Repeat("a", 20_000), strings.Repeat(",", 3000)}
	targets := []string{"/", "*", "//", "/%2F", "/a/../b;c=d", "/?", "/?&&=&a=%zz&a=b&a", "/" + strings.Repeat("x", 9000), "/?" + strings.Repeat("k=v&", 2000)}
	var work []func(x *message.Exchange) string
	for i, value := range values {
		work = append(work, func(x *message.Exchange) string {
			g.Fill(x, oddMethod(i), targets[i%len(targets)])
			for _, name := range names {
				x.Request.Header.Append(name, value)
				x.Request.Header.Append(strings.ToUpper(name), value)
			}
			return fmt.Sprintf("all fields are %.20q", value)
		})
	}
	for i, target := range targets {
		work = append(work, func(x *message.Exchange) string {
			g.Fill(x, oddMethod(i), target)
			x.Client = message.Client{}
			x.Request.Authority = ""
			return fmt.Sprintf("GET %.20q without a host and an address", target)
		})
	}
	for i, address := range []string{"::", "::1", "fe80::1%eth0", "::ffff:192.0.2.9", "255.255.255.255"} {
		work = append(work, func(x *message.Exchange) string {
			g.Fill(x, oddMethod(i), "/")
			x.Client.Address = netip.MustParseAddr(address)
			x.Client.AddressText = address
			x.Request.Body = &brokenBody{after: i}
			return "from " + address + " with a body that breaks off"
		})
	}
	g.Origin = nil
	plain := g.run(work)
	g.Origin = oddOrigin
	return append(plain, g.run(work)...)
}

func oddMethod(i int) string {
	return []string{"GET", "HEAD", "OPTIONS", "POST", "x", "PROPFIND", "DELETE"}[i%7]
}

// oddOrigin answers in ways that are allowed and rare; which one depends on the path
// and method alone, so that every run is the same.
func oddOrigin(x *message.Exchange) error {
	switch (len(x.Request.Path) + len(x.Request.Method)) % 5 {
	case 0:
		x.Response.Status = 304
		x.Response.Length = 12
	case 1:
		x.Response.Status = 200
		x.Response.Header.Append("Content-Type", "")
		x.Response.Header.Append("Vary", "*")
		x.Response.Header.Append("ETag", "W/")
		x.Response.Body = &brokenBody{after: 3}
	case 2:
		x.Response.Status = 999
		x.Response.Header.Append("Content-Encoding", "x, y")
		x.Response.SetBody(nil)
	case 3:
		x.Response.Status = 206
		x.Response.Header.Append("Content-Range", "bytes 0-0/1")
		x.Response.SetBody([]byte("x"))
	case 4:
		return errors.New("an error that is no problem")
	}
	return nil
}

// brokenBody returns some chunks and then an error.
type brokenBody struct{ after int }

func (b *brokenBody) Next() ([]byte, error) {
	if b.after <= 0 {
		return nil, io.ErrUnexpectedEOF
	}
	b.after--
	return []byte("some bytes "), nil
}

func (b *brokenBody) Length() int64            { return -1 }
func (b *brokenBody) Trailer() *message.Header { return nil }
func (b *brokenBody) Close() error             { return nil }

func (g *Gateway) run(work []func(x *message.Exchange) string) []oddAnswer {
	const workers = 3
	results := make([]oddAnswer, len(work))
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			x := &message.Exchange{Shard: uint32(w)}
			for i := w; i < len(work); i += workers {
				name := work[i](x)
				answer, err := g.survive(x)
				results[i] = oddAnswer{name, answer, err}
			}
		})
	}
	wait.Wait()
	return results
}

// survive serves x and turns a panic, and what no answer may look like, into an error.
func (g *Gateway) survive(x *message.Exchange) (a *Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	a = g.Serve(x)
	if a.Asked != nil {
		err = checkFields(&a.Asked.Header)
	}
	return a, errors.Join(err, checkFields(&a.Header))
}

// checkFields refuses what would split a message; values that the client or the
// origin sent are not the policy's.
func checkFields(h *message.Header) error {
	for _, f := range h.Fields() {
		if !message.ValidName(f.Name) || !message.ValidValue(f.Value) {
			return fmt.Errorf("the field %q: %q may not be sent", f.Name, f.Value)
		}
	}
	return nil
}
