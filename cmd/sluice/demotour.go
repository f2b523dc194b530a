package main

import "strings"

// sight is a stop of the tour: what is shown, what to type, and what comes of it.
type sight struct{ title, command, expect string }

// sights are what there is to try. GATEWAY, SECURE and ADMIN stand for the addresses.
func sights() []sight {
	return []sight{
		{"balancing", "curl -s GATEWAY/orders/7", `"origin" is orders-1 and orders-2 in turn`},
		{"TLS and HTTP/2", "curl -sk -o /dev/null -D - SECURE/orders/7", "HTTP/2 200; the certificate is self-signed"},
		{"an origin that fails", "for i in $(seq 10); do curl -s -o /dev/null -w '%{http_code}\\n' GATEWAY/shaky; done", "200 each time: one of two answers 503 and is left out for a while"},
		{"a key is needed", "curl -si GATEWAY/partners/orders", "401 and a problem that says why"},
		{"with the key", "curl -si -H 'X-API-Key: demo-key' GATEWAY/partners/orders", "200; the origin learns X-Consumer-Name, not the key"},
		{"a rate limit", "for i in 1 2 3 4; do curl -s -o /dev/null -w '%{http_code}\\n' -H 'X-API-Key: demo-key' GATEWAY/partners/orders; done", "429 behind the third request in 30 s"},
		{"a split", "for i in $(seq 20); do curl -s GATEWAY/canary | grep '\"origin\"'; done", "about one in five is orders-next"},
		{"browsers", "curl -s -o /dev/null -D - --compressed -H 'Origin: https://app.example.com' GATEWAY/catalogue", "Access-Control-Allow-Origin, Content-Encoding"},
		{"a stream", "curl -sN GATEWAY/events", "an event each half second"},
		{"an origin that is too slow", "curl -si GATEWAY/reports", "504 after 1 s"},
		{"an answer of the gateway", "curl -s GATEWAY/hello/world", "JSON with your address"},
		{"a redirect", "curl -si GATEWAY/old/7", "308 to /orders/7"},
		{"no route", "curl -si GATEWAY/nothing", "404 route_not_found"},
		{"what is going on", "curl -s ADMIN/status", "the revision, listeners, upstreams"},
		{"metrics", "curl -s ADMIN/metrics | grep requests_total", "counters for Prometheus"},
	}
}

// tour prints what to try.
func (d *runningDemo) tour(p *paint) {
	urls := strings.NewReplacer("GATEWAY", "http://"+d.address, "SECURE", "https://"+d.secure, "ADMIN", "http://"+d.admin)
	p.printf("%s listens on http://%s and https://%s, its admin listener on http://%s.\n", p.bold("The demo"), d.address, d.secure, d.admin)
	p.printf("Its origins live inside this process. In another terminal, try:\n")
	for _, s := range sights() {
		p.printf("\n%s\n%s\n", p.faint("# "+s.title+": "+s.expect), urls.Replace(s.command))
	}
	p.printf("\nTo begin with this configuration: %s\nCtrl-C ends the demo.\n", p.bold("sluice demo --print-config > sluice.yaml"))
}
