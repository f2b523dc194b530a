//go:build linux

package main

import (
	"net/url"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"
)

func TestRequestHTTP3(t *testing.T) {
	t.Parallel()
	target, err := url.Parse("https://127.0.0.1:8443/a")
	if err != nil {
		t.Fatal(err)
	}
	request := requestHTTP3(target)
	length, n, err := quicvarint.Parse(request[1:])
	if err != nil || request[0] != 0x01 || int(length) != len(request)-1-n {
		t.Fatalf("%q is not one HEADERS frame: %v", request, err)
	}
	fields := map[string]string{}
	next := qpack.NewDecoder().Decode(request[1+n:])
	for {
		f, err := next()
		if err != nil {
			break
		}
		fields[f.Name] = f.Value
	}
	for name, want := range map[string]string{":method": "GET", ":scheme": "https", ":authority": "127.0.0.1:8443", ":path": "/a"} {
		if fields[name] != want {
			t.Errorf("%s is %q, wanted %q", name, fields[name], want)
		}
	}
}
