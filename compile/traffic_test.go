package compile

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// leaves writes down all settings within v by the path to them, those behind pointers too.
func leaves(into map[string]string, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			leaves(into, path, v.Elem())
		}
	case reflect.Struct:
		if _, ok := v.Interface().(fmt.Stringer); ok {
			into[path] = fmt.Sprint(v.Interface())
			return
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Type.Kind() == reflect.Func {
				continue
			}
			if !f.IsExported() {
				into[path+"."+f.Name] = fmt.Sprint(v.Field(i))
				continue
			}
			leaves(into, path+"."+f.Name, v.Field(i))
		}
	case reflect.Slice:
		into[path] = fmt.Sprint(v.Interface())
		for i := range v.Len() {
			leaves(into, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	default:
		into[path] = fmt.Sprint(v.Interface())
	}
}

func settingsOf(t *testing.T, text string) map[string]string {
	t.Helper()
	e := newEdited(t)
	r := e.must("listeners: [{ name: web, address: \":8080\" }]\nupstreams:\n  - name: orders\n" + text + "routes: [{ name: all, match: { path: /** }, upstream: orders }]\n")
	all := map[string]string{}
	leaves(all, "", reflect.ValueOf(*r.Upstreams[0].Config()))
	e.end(r)
	return all
}

const settingsDefault = `
    endpoints: [http://10.0.0.7]
    zone: { name: a }
    health: {}
    ejection: {}
    breaker: {}
    concurrency: adaptive
    balance: { method: sticky, secret: 0123456789abcdef secret }
`

// settingsOther are all settings that an upstream has, none as it is by default. Some exclude each other.
var settingsOther = []string{`
    endpoints: [{ url: "https://10.0.0.8", weight: 7, zone: b, priority: 3 }]
    protocol: h2
    zone: { name: b, minimum: 33% }
    panic_threshold: 11%
    slow_start: 17s
    timeouts: { connect: 2s, try: 3s, request: 4s, response: 5s, body: 6s, idle: 7s, deadline_header: X-Wait }
    connections: { max: 8, idle: 9 }
    limits: { header_bytes: 10KiB }
    retry:
      attempts: 3
      on: [timeout, "503", grpc:unavailable]
      methods: [POST]
      backoff: { base: 11ms, max: 12ms, retry_after: 13ms }
      budget: 14%
      budget_minimum: 15
      body: 16KiB
      hedge: { after: 17ms, max: 2, methods: [GET] }
    health: { method: OPTIONS, path: /h, host: h.example.com, headers: { x-a: b }, statuses: ["204"], body: fine, interval: 18s, jitter: 19%, timeout: 20s, unhealthy: 21, healthy: 22 }
    ejection: { consecutive: 23, failure_share: 24%, success_deviations: 2.5x, latency: 2.6x, interval: 27s, minimum_requests: 28, time: 29s, max_time: 40s, max_share: 31% }
    breaker: { scope: upstream, failure_share: 32%, slow_share: 33%, slow_after: 34s, window: 35s, minimum_requests: 36, open: 37s, max_open: 38s, probes: 39, successes: 41 }
    concurrency: { min: 42, max: 43, tolerance: 4.4x, queue: 45, wait: 46s, overload: 47s, groups: { gold: 1 } }
    balance: { method: sticky, first: peak_ewma, cookie: c, ttl: 48s, path: /s, secure: always, same_site: strict, secret: 0123456789abcdef other }
`, `
    discovery: { file: endpoints.yaml }
    proxy_protocol: v2
    health: { protocol: grpc, service: orders }
    concurrency: { limit: 49, per_endpoint: 50 }
    balance: { method: consistent_hash, key: "{request.path}", table: ring, bound: 5.1x }
`}

// TestSettingsArrive is an upstream of which each setting is given: none is lost on its way to package upstream.
func TestSettingsArrive(t *testing.T) {
	t.Parallel()
	usual := settingsOf(t, settingsDefault)
	var others []map[string]string
	for _, text := range settingsOther {
		others = append(others, settingsOf(t, text))
	}
	// What nobody can set, and keys, which are hidden.
	unset := []string{
		".Name", ".Limits.HeaderFields", ".Limits.TrailerBytes", ".Limits.ChunkExtension", ".Retry.Budget.Window", ".Sticky.Keys", ".Sticky.Keys[0]",
		".Ejection.SuccessPeers", ".Ejection.LatencyPeers", ".Ejection.LatencyFloor", ".Ejection.LatencyQuantile", ".Breaker.ProbeTime",
		".Concurrency.Limiter.Adaptive.Measure",
	}
	for path, value := range usual {
		differs := slices.ContainsFunc(others, func(o map[string]string) bool { return o[path] != "" && o[path] != value })
		if differs == slices.Contains(unset, path) {
			t.Errorf("%s is %q whatever is written, or should not be in the list", path, value)
		}
	}
}
