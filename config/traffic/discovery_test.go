package traffic

import "testing"

func TestDNSServer(t *testing.T) {
	t.Parallel()
	for word, good := range map[string]bool{
		"10.0.0.53": true, "10.0.0.53:5353": true, "::1": true, "[::1]:53": true, "2001:db8::53": true,
		"": false, "dns.internal": false, "10.0.0.53:0": false, "10.0.0.53:65536": false, "[::1]": false, "fe80::1%eth0": false, "[fe80::1%eth0]:53": false, "10.0.0.53:": false,
	} {
		var s DNSServer
		if err := s.UnmarshalText([]byte(word)); (err == nil) != good {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestSourceURL(t *testing.T) {
	t.Parallel()
	for word, good := range map[string]bool{
		"http://a": true, "https://a.example.com:8443/x?y=z": true, "http://[::1]:80/": true,
		"": false, "a": false, "ftp://a": false, "http://": false, "http://user:pass@a": false, "http://a b": false, "http://a#b": false, "http://a:port": false, "http:a": false,
	} {
		var u SourceURL
		if err := u.UnmarshalText([]byte(word)); (err == nil) != good {
			t.Errorf("%q: %v", word, err)
		}
	}
}
