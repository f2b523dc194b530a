package http2

import (
	"io"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// An exchange costs at most these allocations, once a connection has warmed up: the literal fields of its
// head. Here all of them are in the table.
func TestAllocationBudget(t *testing.T) {
	if raceEnabled {
		return // The race detector allocates too.
	}
	g := serve(t, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Status = 200
		x.Response.Header.Append("Content-Type", "text/plain")
		x.Response.SetBody(helloBody)
		_ = x.Wire().Respond(x)
	}))
	p := dialRaw(t, g.address()).send(greeting)
	p.until("ack")
	p.send(frame(frameHeaders, endBoth, 1, "\x82\x86\x84"+indexedField(":authority", "example.com")+indexedField("user-agent", "test")))
	p.until("end 1")
	block := "\x82\x86\x84\xbf\xbe"
	id := uint32(3)
	out := make([]byte, 0, 64)
	in := make([]byte, 4096)
	one := func() {
		out = appendFrameHeader(out[:0], len(block), frameHeaders, endBoth, id)
		out = append(out, block...)
		id += 2
		if _, err := p.nc.Write(out); err != nil {
			t.Fatal(err)
		}
		for ended := false; !ended; {
			if _, err := io.ReadFull(p.r, in[:frameHeaderLen]); err != nil {
				t.Fatal(err)
			}
			h := parseFrameHeader(in)
			if _, err := io.ReadFull(p.r, in[:h.length]); err != nil {
				t.Fatal(err)
			}
			ended = h.kind == frameData && h.flags&flagEndStream != 0
		}
	}
	for range 200 {
		one()
	}
	if n := testing.AllocsPerRun(500, one); n > 1 {
		t.Errorf("%v allocations an exchange", n)
	}
}

var helloBody = []byte("hello")

// BenchmarkStreams asks with many streams at once over one connection.
func BenchmarkStreams(b *testing.B) {
	g := serve(b, Limits{}, handlerFunc(func(x *message.Exchange) {
		x.Response.Status = 200
		x.Response.Header.Append("Content-Type", "text/plain")
		x.Response.SetBody(helloBody)
		_ = x.Wire().Respond(x)
	}))
	p := dialRaw(b, g.address()).send(greeting)
	p.until("ack")
	p.send(frame(frameHeaders, endBoth, 1, "\x82\x86\x84"+indexedField(":authority", "example.com")+indexedField("user-agent", "test")))
	p.until("end 1")
	p.send(windowFrame(0, maxWindow-firstWindow))
	const streams = 100
	id := uint32(3)
	in := make([]byte, 4096)
	b.ReportAllocs()
	for done := 0; done < b.N; done += streams {
		var out []byte
		for range streams {
			out = appendFrameHeader(out, 5, frameHeaders, endBoth, id)
			out = append(out, "\x82\x86\x84\xbf\xbe"...)
			id += 2
		}
		if _, err := p.nc.Write(out); err != nil {
			b.Fatal(err)
		}
		for ended := 0; ended < streams; {
			if _, err := io.ReadFull(p.r, in[:frameHeaderLen]); err != nil {
				b.Fatal(err)
			}
			h := parseFrameHeader(in)
			if _, err := io.ReadFull(p.r, in[:h.length]); err != nil {
				b.Fatal(err)
			}
			if h.kind == frameData && h.flags&flagEndStream != 0 {
				ended++
			}
		}
	}
}

// BenchmarkRoundTrips asks an origin of our own with many streams at once over one connection.
func BenchmarkRoundTrips(b *testing.B) {
	g := serve(b, Limits{}, hello)
	c, _ := connectTo(b, g.address(), ClientLimits{})
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		w := new(quietWire)
		x := ask(w, "GET", "/", nil)
		for pb.Next() {
			if f := c.RoundTrip(x, &x.Request, &x.Response); f != nil {
				b.Error(f)
				return
			}
			for x.Response.Body != nil {
				if _, err := x.Response.Body.Next(); err != nil {
					break
				}
			}
			x.Response.CloseBody()
			x.Response.Reset()
		}
	})
}
