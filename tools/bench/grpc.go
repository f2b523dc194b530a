//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http2"
)

// The messages of a call: a name of 16 bytes, and an answer as long as that of the other
// comparisons.
var (
	grpcAsked    = grpcMessage("order-0000000017")
	grpcAnswered = grpcMessage(payload)
)

// grpcMessage is a message of one field of text, of less than 128 bytes, with its head.
func grpcMessage(text string) string {
	n := byte(len(text))
	return string([]byte{0, 0, 0, 0, n + 2, 1<<3 | 2, n}) + text
}

// grpcOrigin answers each call with one message. It runs in this process, on the side
// core: none of the peers is an origin that can send trailers from memory.
type grpcOrigin struct{}

// Serve implements message.Handler.
func (grpcOrigin) Serve(x *message.Exchange) {
	if x.Request.Body != nil {
		for {
			_, err := x.Request.Body.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
		}
	}
	x.Response.Status = 200
	x.Response.Header.Append("content-type", "application/grpc")
	answer := &grpcAnswer{}
	answer.Reset([]byte(grpcAnswered))
	answer.trailer.Append("grpc-status", "0")
	x.Response.Body = answer
	_ = x.Wire().Respond(x) // A client that is gone is not our affair.
}

// grpcAnswer is a message in memory and the trailer behind it.
type grpcAnswer struct {
	message.Bytes
	trailer message.Header
}

// Length is not announced: servers of gRPC do not.
func (a *grpcAnswer) Length() int64 { return -1 }

// Trailer implements message.Body.
func (a *grpcAnswer) Trailer() *message.Header { return &a.trailer }

// startGRPCOrigin serves calls in clear text until the returned function is called.
func (b *bench) startGRPCOrigin() (address string, stop func(), err error) {
	address, err = b.fleet.freeAddress()
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, err
	}
	limits := http2.Limits{Streams: 1000}
	server := http2.NewServer("origin", limits, grpcOrigin{})
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			server.Admit()
			go server.ServeConn(c, netip.AddrPort{})
		}
	}()
	return address, func() {
		_ = listener.Close()
		server.Close()
	}, nil
}

// nginxGRPC passes calls on, with the fields that Sluice sends.
const nginxGRPC = `      grpc_pass grpc://calls;
      grpc_set_header X-Forwarded-For $remote_addr;
      grpc_set_header X-Forwarded-Host $http_host;
      grpc_set_header X-Forwarded-Proto $scheme;
`

// startGRPCNginx starts an nginx before the origin; parameters are those of its listen
// directive.
func (b *bench) startGRPCNginx(name, origin, parameters, extra string) (*contender, error) {
	address, err := b.fleet.freeAddress()
	if err != nil {
		return nil, err
	}
	config := nginxHead(name) + `  upstream calls {
    server ` + origin + `;
    keepalive 512;
    keepalive_requests 1000000000;
  }
` + extra + `  server {
    listen ` + address + " " + parameters + ` backlog=4096;
    location / {
` + nginxGRPC + `    }
  }
}
`
	path, err := b.fleet.file(name+".conf", config)
	if err != nil {
		return nil, err
	}
	return b.contend(name, config, launch{
		name: name, core: b.machine.cores.proxy, address: address,
		command: nginxCommand(b.fleet.dir, path),
	})
}

// startGRPCSluice starts a Sluice before the origin; listener is what else its listener is
// given.
func (b *bench) startGRPCSluice(name, origin, listener string, env ...string) (*contender, error) {
	g, err := b.newGateway(name)
	if err != nil {
		return nil, err
	}
	g.tls, g.env = listener, env
	return b.startGateway(g, origin, "    protocol: h2\n"+bareRoute)
}

// call gives a contender calls to pass on.
func (b *bench) call(c *contender, secure bool, connections, streams int) error {
	file := filepath.Join(b.fleet.dir, "call.bin")
	c.load.generate, c.load.connections, c.load.streams, c.load.body = runH2load, connections, streams, file
	c.load.headers = []string{"content-type: application/grpc", "te: trailers"}
	if secure {
		c.secure()
	}
	_, err := b.fleet.file("call.bin", grpcAsked)
	return err
}

// clearHTTP2 lets Sluice's listener take HTTP/2 without TLS.
const clearHTTP2 = "    protocols: [http/1.1, h2]\n"

// grpc compares calls of gRPC, with and without TLS towards the client.
func (b *bench) grpc() (section, error) {
	s := section{
		title: fmt.Sprintf("gRPC, unary calls to an h2c origin, messages of %d and %d bytes", len(grpcAsked), len(grpcAnswered)),
		head:  []string{"", "CPU µs/call", "ratio to nginx", "calls/s", "mean ms", "longest ms", "errors"},
	}
	origin, stop, err := b.startGRPCOrigin()
	if err != nil {
		return s, err
	}
	defer stop()
	if err := b.writeCertificate(); err != nil {
		return s, err
	}
	var all []*contender
	for _, shape := range []grpcShape{
		{"TLS, 16 × 16", "ssl http2", nginxTLS, secureListener, 16, streams},
		{"clear, 16 × 16", "http2", "", clearHTTP2, 16, streams},
		{"clear, 64 × 1", "http2", "", clearHTTP2, 64, 1},
	} {
		sluice, err := b.compareCalls(&s, origin, shape)
		if err != nil {
			return s, err
		}
		all = append(all, sluice)
	}
	s.noErrors(all...)
	return s, nil
}

// grpcShape is one way in which clients call: over which wire, with how many connections, and
// how many calls at a time on each.
type grpcShape struct {
	name                     string
	nginx, nginxMore, sluice string // what the listeners are given
	connections, streams     int
}

// compareCalls adds the rows of one shape.
func (b *bench) compareCalls(s *section, origin string, shape grpcShape) (sluice *contender, err error) {
	nginx, err := b.startGRPCNginx("nginx", origin, shape.nginx, shape.nginxMore)
	if err != nil {
		return nil, err
	}
	sluice, err = b.startGRPCSluice("sluice", origin, shape.sluice)
	if err != nil {
		return nil, err
	}
	pair := []*contender{sluice, nginx}
	for _, c := range pair {
		if err := b.call(c, shape.nginxMore != "", shape.connections, shape.streams); err != nil {
			return nil, err
		}
	}
	if err := b.alternate(pair); err != nil {
		return nil, err
	}
	for _, c := range pair {
		mean, longest := c.slowness()
		s.add(c.name+", "+shape.name, microseconds(c.cpu()), times(medianRatio(c.cpu(), nginx.cpu())),
			fmt.Sprintf("%.0f", median(c.throughput())), milliseconds(mean), milliseconds(longest), fmt.Sprint(c.errors()))
		s.configs = append(s.configs, namedConfig{c.name + ", " + shape.name, c.config})
		b.fleet.stop(c.process)
	}
	ratio := medianRatio(sluice.cpu(), nginx.cpu())
	s.judge(ratio <= 1.25, shape.name+": at most 1.25 × nginx", "%.2f", ratio)
	return sluice, nil
}
