package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func ends(source, destination string) Ends {
	return Ends{netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

func TestText(t *testing.T) {
	t.Parallel()
	four := ends("192.0.2.1:56324", "198.51.100.1:443")
	six := ends("[2001:db8::1]:1", "[2001:db8::2]:65535")
	for line, want := range map[string]struct {
		ends Ends
		err  error
	}{
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n":          {four, nil},
		"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n":           {six, nil},
		"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 2001:db8::2 1 65535\r\n": {six, nil},
		"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6401 0 0\r\n":     {ends("[::ffff:192.0.2.1]:0", "[::ffff:198.51.100.1]:0"), nil},
		"PROXY UNKNOWN\r\n":                                     {Ends{}, nil},
		"PROXY UNKNOWN TCP4  what ever\r\n":                     {Ends{}, nil},
		"PROXY UNKNOWN " + strings.Repeat("f", 107-16) + "\r\n": {Ends{}, nil},
		"PROXY UNKNOWN " + strings.Repeat("f", 108-16) + "\r\n": {Ends{}, errTextLong},
		"PROXY UNKNOWN " + strings.Repeat("f", 200):             {Ends{}, errTextLong},
		"PROXY UNKNOWN a\rb\r\n":                                {Ends{}, errTextControl},
		"PROXY UNKNOWN a\x00b\r\n":                              {Ends{}, errTextControl},
		"PROXY UNKNOWN \xc3\xa9\r\n":                            {Ends{}, errTextControl},
		"PROXY UNKNOWN\t\r\n":                                   {Ends{}, errTextControl},
		"PROXY UNKNOWNX\r\n":                                    {Ends{}, errTextWords},
		"PROXY unknown\r\n":                                     {Ends{}, errTextWords},
		"PROXY \r\n":                                            {Ends{}, errTextWords},
		"PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443\r\n":      {Ends{}, errTextWords},
		"PROXY TCP4 192.0.2.1  198.51.100.1 56324 443\r\n":      {Ends{}, errTextWords},
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n":      {Ends{}, errTextWords},
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n":           {Ends{}, errTextWords},
		"PROXY TCP5 192.0.2.1 198.51.100.1 56324 443\r\n":       {Ends{}, errTextWords},
		"PROXY UDP4 192.0.2.1 198.51.100.1 56324 443\r\n":       {Ends{}, errTextWords},
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n":         {Ends{}, errTextEnd},
		"PROXY \n": {Ends{}, errTextEnd},
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\r\n":                                {Ends{}, errTextControl},
		"PROXY TCP4 192.0.2.01 198.51.100.1 56324 443\r\n":                                 {Ends{}, errTextAddress},
		"PROXY TCP4 192.0.2 198.51.100.1 56324 443\r\n":                                    {Ends{}, errTextAddress},
		"PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n":                                {Ends{}, errTextAddress},
		"PROXY TCP4 0xc0.0.2.1 198.51.100.1 56324 443\r\n":                                 {Ends{}, errTextAddress},
		"PROXY TCP4 192.0.2.1 2001:db8::1 56324 443\r\n":                                   {Ends{}, errTextAddress},
		"PROXY TCP4 ::ffff:192.0.2.1 ::ffff:192.0.2.2 56324 443\r\n":                       {Ends{}, errTextAddress},
		"PROXY TCP6 192.0.2.1 198.51.100.1 56324 443\r\n":                                  {Ends{}, errTextAddress},
		"PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 443\r\n":                                {Ends{}, errTextAddress},
		"PROXY TCP6 [2001:db8::1] 2001:db8::1 56324 443\r\n":                               {Ends{}, errTextAddress},
		"PROXY TCP6 2001:db8:::1 2001:db8::1 56324 443\r\n":                                {Ends{}, errTextAddress},
		"PROXY TCP4 example.com 198.51.100.1 56324 443\r\n":                                {Ends{}, errTextAddress},
		"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n":                                  {Ends{}, errTextPort},
		"PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n":                                 {Ends{}, errTextPort},
		"PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n":                                     {Ends{}, errTextPort},
		"PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n":                                     {Ends{}, errTextPort},
		"PROXY TCP4 192.0.2.1 198.51.100.1 1 00\r\n":                                       {Ends{}, errTextPort},
		"PROXY TCP4 192.0.2.1 198.51.100.1 1 0x1f\r\n":                                     {Ends{}, errTextPort},
		"PROXY TCP4 192.0.2.1 198.51.100.1 1 1_0\r\n":                                      {Ends{}, errTextPort},
		"proxy TCP4 192.0.2.1 198.51.100.1 56324 443\r\n":                                  {Ends{}, ErrNone},
		" PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n":                                 {Ends{}, ErrNone},
		"PROXY\tTCP4 192.0.2.1 198.51.100.1 56324 443\r\n":                                 {Ends{}, ErrNone},
		"POST / HTTP/1.1\r\n":                                                              {Ends{}, ErrNone},
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                 {Ends{}, ErrNone},
		"\r\nGET / HTTP/1.1\r\n":                                                           {Ends{}, ErrNone},
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00": {Ends{}, ErrNone},
	} {
		// What follows the header is never looked at.
		for _, tail := range []string{"", "GET / HTTP/1.1\r\n", "\n", "\r\n"} {
			h, n, err := Parse([]byte(line + tail))
			if err != want.err || h.Ends != want.ends {
				t.Errorf("%q: %+v, %v; want %+v, %v", line, h, err, want.ends, want.err)
			}
			if err == nil && (n != len(line) || h.Version != 1) {
				t.Errorf("%q: %d bytes of version %d", line, n, h.Version)
			}
		}
	}
}

// frame is a header of version 2.
func frame(command, family byte, body string) string {
	b := append([]byte(signatureBinary), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(body)))) + body
}

func extension(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed sets the checksum of a header that ends in an extension for it.
func summed(header string) string {
	b := []byte(header)
	binary.BigEndian.PutUint32(b[len(b)-4:], checksum(b, len(b)-4))
	return string(b)
}

const (
	body4 = "\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"
	body6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x01\xff\xff"
)

func TestBinary(t *testing.T) {
	t.Parallel()
	four := ends("192.0.2.1:56324", "198.51.100.1:443")
	six := ends("[2001:db8::1]:1", "[2001:db8::2]:65535")
	sum := extension(extensionChecksum, "\x00\x00\x00\x00")
	good := summed(frame(0x21, 0x11, body4+extension(4, "\x00\x00")+sum))
	flipped := []byte(good)
	flipped[20] ^= 1
	for name, test := range map[string]struct {
		header string
		ends   Ends
		err    error
	}{
		"IPv4":                    {frame(0x21, 0x11, body4), four, nil},
		"IPv4 datagrams":          {frame(0x21, 0x12, body4), four, nil},
		"IPv6":                    {frame(0x21, 0x21, body6), six, nil},
		"IPv6 datagrams":          {frame(0x21, 0x22, body6), six, nil},
		"Unix":                    {frame(0x21, 0x31, strings.Repeat("/", 216)), Ends{}, nil},
		"Unix datagrams":          {frame(0x21, 0x32, strings.Repeat("/", 216)), Ends{}, nil},
		"unspecified":             {frame(0x21, 0x00, ""), Ends{}, nil},
		"unspecified with more":   {frame(0x21, 0x00, "\x01\xff\xff"), Ends{}, nil},
		"local":                   {frame(0x20, 0x00, ""), Ends{}, nil},
		"local with addresses":    {frame(0x20, 0x11, body4), Ends{}, nil},
		"local of another family": {frame(0x20, 0xff, "abc"), Ends{}, nil},
		"extensions":              {frame(0x21, 0x11, body4+extension(1, "h2")+extension(0xee, "")), four, nil},
		"longest":                 {frame(0x21, 0x11, body4+extension(4, strings.Repeat("x", MaxBinary-16-12-3))), four, nil},
		"checksum":                {good, four, nil},
		"checksum IPv6":           {summed(frame(0x21, 0x21, body6+sum)), six, nil},
		"too long":                {frame(0x21, 0x11, body4+extension(4, strings.Repeat("x", MaxBinary-16-12-2))), Ends{}, errLong},
		"too long, local":         {frame(0x20, 0x00, strings.Repeat("x", MaxBinary-15)), Ends{}, errLong},
		"wrong checksum":          {string(flipped), Ends{}, errChecksum},
		"checksum of zeros":       {frame(0x21, 0x11, body4+sum), Ends{}, errChecksum},
		"short checksum":          {frame(0x21, 0x11, body4+extension(3, "abc")), Ends{}, errChecksum},
		"two checksums":           {summed(frame(0x21, 0x11, body4+sum+sum)), Ends{}, errChecksum},
		"version 1":               {frame(0x11, 0x11, body4), Ends{}, errVersion},
		"version 3":               {frame(0x31, 0x11, body4), Ends{}, errVersion},
		"command 2":               {frame(0x22, 0x11, body4), Ends{}, errCommand},
		"no transport":            {frame(0x21, 0x10, body4), Ends{}, errFamily},
		"third transport":         {frame(0x21, 0x13, body4), Ends{}, errFamily},
		"fourth family":           {frame(0x21, 0x41, body4), Ends{}, errFamily},
		"transport of nothing":    {frame(0x21, 0x01, ""), Ends{}, errFamily},
		"short IPv4":              {frame(0x21, 0x11, body4[1:]), Ends{}, errAddresses},
		"short IPv6":              {frame(0x21, 0x21, body6[1:]), Ends{}, errAddresses},
		"short Unix":              {frame(0x21, 0x31, strings.Repeat("/", 215)), Ends{}, errAddresses},
		"cut extension":           {frame(0x21, 0x11, body4+"\x01\x00"), Ends{}, errExtension},
		"overlong extension":      {frame(0x21, 0x11, body4+"\x01\x00\x03ab"), Ends{}, errExtension},
		"broken signature":        {"\r\n\r\n\x00\r\nQUIT\r" + good[12:], Ends{}, ErrNone},
	} {
		h, n, err := Parse([]byte(test.header + "GET / HTTP/1.1\r\n"))
		if err != test.err || h.Ends != test.ends {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, h, err, test.ends, test.err)
		}
		if err == nil && (n != len(test.header) || h.Version != 2) {
			t.Errorf("%s: %d bytes of version %d", name, n, h.Version)
		}
	}
}

// TestShort cuts headers everywhere: each part is the beginning of a header and says
// how much is needed, never more than there is.
func TestShort(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "PROXY UNKNOWN\r\n",
		frame(0x21, 0x21, body6+extension(1, "h2")), frame(0x20, 0, ""),
	} {
		for i := range len(whole) {
			_, n, err := Parse([]byte(whole[:i]))
			if err != ErrShort || n <= i || n > len(whole) {
				t.Errorf("%q: %d, %v", whole[:i], n, err)
			}
			if begun, want := Begun([]byte(whole[:i])), i >= 6 && whole[0] == 'P' || i >= 12; begun != want {
				t.Errorf("%q: begun %t", whole[:i], begun)
			}
		}
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		ends         Ends
		text, binary string
	}{
		{ends("192.0.2.1:56324", "198.51.100.1:443"), "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", frame(0x21, 0x11, body4)},
		{ends("[2001:db8::1]:1", "[2001:db8::2]:65535"), "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", frame(0x21, 0x21, body6)},
		{ends("[::ffff:192.0.2.1]:56324", "198.51.100.1:443"), "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", frame(0x21, 0x11, body4)},
		{ends("192.0.2.1:1", "[2001:db8::2%lo]:2"), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n",
			frame(0x21, 0x21, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x01"+body6[16:32]+"\x00\x01\x00\x02")},
		{Ends{Source: netip.MustParseAddrPort("192.0.2.1:1")}, "PROXY UNKNOWN\r\n", frame(0x21, 0, "")},
		{Ends{}, "PROXY UNKNOWN\r\n", frame(0x21, 0, "")},
	} {
		if got := Append(nil, 1, test.ends); string(got) != test.text {
			t.Errorf("%v: %q", test.ends, got)
		}
		if got := Append([]byte("x"), 2, test.ends); string(got) != "x"+test.binary {
			t.Errorf("%v: %q", test.ends, got)
		}
	}
}

// textTwin is the grammar of version 1 as an expression.
var textTwin = regexp.MustCompile(`^PROXY (?:UNKNOWN(?: [ -~]*)?|TCP4 ([0-9.]{7,15}) ([0-9.]{7,15}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})|TCP6 ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n`)

// twin reads a header of version 1 in another way.
func twin(b []byte) (source, destination string, n int, ok bool) {
	m := textTwin.FindSubmatch(b)
	if m == nil || len(m[0]) > 107 {
		return "", "", 0, false
	}
	at := 1
	if m[5] != nil {
		at = 5
	}
	if m[at] == nil {
		return "", "", len(m[0]), true
	}
	var both [2]string
	for i := range both {
		ip := net.ParseIP(string(m[at+i]))
		port, err := strconv.Atoi(string(m[at+2+i]))
		if ip == nil || err != nil || port > 65535 || (at == 5) != bytes.ContainsRune(m[at+i], ':') {
			return "", "", 0, false
		}
		both[i] = net.JoinHostPort(ip.String(), strconv.Itoa(port))
	}
	return both[0], both[1], len(m[0]), true
}

// FuzzParse compares version 1 with its twin, and holds of all: a header that is read is
// written as one that reads the same, more bytes behind it change nothing, and no part of
// it is a header.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET /", "PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 1 65535\r\n", "PROXY UNKNOWN x\r\n",
		frame(0x21, 0x11, body4), frame(0x21, 0x21, body6+extension(1, "h2")), frame(0x20, 0, ""), "GET / HTTP/1.1\r\n",
		summed(frame(0x21, 0x11, body4+extension(3, "0000"))),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		if bytes.HasPrefix(b, []byte(signatureText)) {
			source, destination, length, ok := twin(b)
			if ok != (err == nil) || ok && length != n {
				t.Fatalf("%q: %d, %v; the twin says %t, %d", b, n, err, ok, length)
			}
			if ok && (source == "") != !h.Ends.Source.IsValid() || ok && source != "" && (source != plain(h.Ends.Source) || destination != plain(h.Ends.Destination)) {
				t.Fatalf("%q: %v; the twin says %s, %s", b, h.Ends, source, destination)
			}
		}
		if errors.Is(err, ErrShort) && n <= len(b) {
			t.Fatalf("%q is short and needs %d", b, n)
		}
		if err != nil {
			return
		}
		if n > len(b) || n > MaxBinary || h.Ends.Source.IsValid() != h.Ends.Destination.IsValid() {
			t.Fatalf("%q: %+v, %d", b, h, n)
		}
		if _, _, err := Parse(b[:n-1]); err != ErrShort {
			t.Fatalf("%q without its last byte: %v", b[:n], err)
		}
		again, _, err := Parse(Append(nil, h.Version, h.Ends))
		if err != nil || again.Ends != h.Ends.oneFamily() {
			t.Fatalf("%q is written as %v, %v", b, again, err)
		}
	})
}

// plain writes an address as package net does.
func plain(a netip.AddrPort) string { return net.TCPAddrFromAddrPort(a).String() }
