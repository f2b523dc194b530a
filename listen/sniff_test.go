package listen

import (
	"net"
	"testing"
)

func TestSniff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		first string
		want  bool
	}{
		{preface, true},
		{preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", true},
		{"GET / HTTP/1.1\r\n\r\n", false},
		{"GET /long HTTP/3.7\r\nHost: a\r\n\r\n", false}, // A version that HTTP/1 refuses, with words.
		{"GET /a-target-that-does-not-end-within-what-is-looked-at/and/goes/on HTTP/1.1\r\n", false},
		{"GET / HT", false},
		{"\r\nGET / HTTP/1.1\r\n\r\n", false},
		{"PRI * HTTP/2.0\r\nHost: a\r\n\r\n", false},
		{"\x16\x03\x01\x02\x00\x01", false},
		{"INVALID CONNECTION PREFACE\r\n\r\n", true},
		{"GET /\r\n", true},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		served, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte(test.first)); err != nil {
			t.Fatal(err)
		}
		if got := sniff(served); got != test.want {
			t.Errorf("%q: HTTP/2 %v", test.first, got)
		}
		for _, c := range []interface{ Close() error }{client, served, ln} {
			_ = c.Close()
		}
	}
}
