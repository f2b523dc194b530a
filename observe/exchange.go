package observe

import (
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
)

// RouteMetrics is what a route counts with: 14 KiB.
type RouteMetrics struct {
	requests [statusClasses]*meter.Counter
	duration *meter.Histogram
	bytesIn  *meter.Counter
	bytesOut *meter.Counter
}

func newRouteMetrics(r *Registry, route string) *RouteMetrics {
	m := &RouteMetrics{
		duration: r.histogram(&httpDuration, route),
		bytesIn:  r.counter(&httpBytesIn, route),
		bytesOut: r.counter(&httpBytesOut, route),
	}
	for class, status := range statusLabels {
		m.requests[class] = r.counter(&httpRequests, route, status)
	}
	return m
}

func removeRouteMetrics(r *Registry, route string) {
	r.remove(&httpDuration, route)
	r.remove(&httpBytesIn, route)
	r.remove(&httpBytesOut, route)
	for _, status := range statusLabels {
		r.remove(&httpRequests, route, status)
	}
}

// Done counts an exchange that is over. The engine calls it once, when
// x.Times.Done is set, on the goroutine that owns x; x must have a wire.
func (m *RouteMetrics) Done(x *message.Exchange) {
	wire := x.Wire()
	m.requests[statusClass(Status(x))].Add(x.Shard, 1)
	m.duration.Observe(x.Shard, int64(x.Times.Done))
	m.bytesIn.Add(x.Shard, wire.BytesIn())
	m.bytesOut.Add(x.Shard, wire.BytesOut())
}

// Status is the status that metrics and the access log show for an exchange: that
// of its answer, or what its answer means, or that of its problem where there is no
// answer; 0 where there is neither.
func Status(x *message.Exchange) int {
	if x.Response.Shown != 0 {
		return x.Response.Shown
	}
	if x.Response.Status != 0 {
		return x.Response.Status
	}
	if p := x.Problem(); p != nil {
		return p.Status
	}
	return 0
}

// statusClass is an index into statusLabels.
func statusClass(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

// UpstreamMetrics is what an upstream counts with: 23 KiB. Durations are those of
// one try.
type UpstreamMetrics struct {
	requests        [statusClasses]*meter.Counter
	retries         *meter.Counter
	retriesRefused  *meter.Counter
	hedges          [hedgeResults]*meter.Counter
	connect         *meter.Histogram
	connectFailures *meter.Counter
	firstByte       *meter.Histogram

	registry *Registry
	upstream string // the value of the label
	watch    atomic.Pointer[watchMetrics]
}

func newUpstreamMetrics(r *Registry, upstream string) *UpstreamMetrics {
	m := &UpstreamMetrics{
		retries:         r.counter(&upstreamRetries, upstream),
		retriesRefused:  r.counter(&upstreamRetriesRefused, upstream),
		connect:         r.histogram(&upstreamConnect, upstream),
		connectFailures: r.counter(&upstreamConnectFailures, upstream),
		firstByte:       r.histogram(&upstreamFirstByte, upstream),
		registry:        r,
		upstream:        upstream,
	}
	for result, label := range hedgeLabels {
		m.hedges[result] = r.counter(&upstreamHedges, upstream, label)
	}
	for class, status := range statusLabels {
		m.requests[class] = r.counter(&upstreamRequests, upstream, status)
	}
	return m
}

func removeUpstreamMetrics(r *Registry, upstream string) {
	r.remove(&upstreamRetries, upstream)
	r.remove(&upstreamRetriesRefused, upstream)
	r.remove(&upstreamConnect, upstream)
	r.remove(&upstreamConnectFailures, upstream)
	r.remove(&upstreamFirstByte, upstream)
	removeWatchMetrics(r, upstream)
	for _, label := range hedgeLabels {
		r.remove(&upstreamHedges, upstream, label)
	}
	for _, status := range statusLabels {
		r.remove(&upstreamRequests, upstream, status)
	}
}

// Answered counts a try that an origin answered; firstByte is how long the
// complete head of its answer took.
func (m *UpstreamMetrics) Answered(shard uint32, status int, firstByte time.Duration) {
	m.requests[statusClass(status)].Add(shard, 1)
	m.firstByte.Observe(shard, int64(firstByte))
}

// Unanswered counts a try that was sent and not answered.
func (m *UpstreamMetrics) Unanswered(shard uint32) { m.requests[0].Add(shard, 1) }

// Retried counts one more try of a request.
func (m *UpstreamMetrics) Retried(shard uint32) { m.retries.Add(shard, 1) }

// RetryRefused counts a request for whose further try there was no budget.
func (m *UpstreamMetrics) RetryRefused(shard uint32) { m.retriesRefused.Add(shard, 1) }

// What may become of a hedge.
const (
	hedgeWon = iota
	hedgeLost
	hedgeRefused
	hedgeResults
)

var hedgeLabels = [hedgeResults]string{"won", "lost", "refused"}

// HedgeWon counts a request that went to one more endpoint, whose answer was used.
func (m *UpstreamMetrics) HedgeWon(shard uint32) { m.hedges[hedgeWon].Add(shard, 1) }

// HedgeLost counts one that was in vain.
func (m *UpstreamMetrics) HedgeLost(shard uint32) { m.hedges[hedgeLost].Add(shard, 1) }

// HedgeRefused counts one that was not sent for want of budget or room.
func (m *UpstreamMetrics) HedgeRefused(shard uint32) { m.hedges[hedgeRefused].Add(shard, 1) }

// Connected counts a new connection that took this long to open.
func (m *UpstreamMetrics) Connected(shard uint32, took time.Duration) {
	m.connect.Observe(shard, int64(took))
}

// ConnectFailed counts a connection that could not be opened.
func (m *UpstreamMetrics) ConnectFailed(shard uint32) { m.connectFailures.Add(shard, 1) }

// ListenerMetrics is what a listener counts with.
type ListenerMetrics struct {
	open     *meter.Gauge
	accepted *meter.Counter
	refused  *meter.Counter

	handshakeFailed *meter.Counter
	proxyRefused    [len(proxyReasons)]*meter.Counter
}

func newListenerMetrics(r *Registry, listener string) *ListenerMetrics {
	m := &ListenerMetrics{
		open:     r.gauge(&listenerConnections, listener),
		accepted: r.counter(&listenerAccepted, listener),
		refused:  r.counter(&listenerRefused, listener),

		handshakeFailed: r.counter(&listenerHandshakeFailures, listener),
	}
	for i, reason := range proxyReasons {
		m.proxyRefused[i] = r.counter(&listenerProxyRefused, listener, reason)
	}
	return m
}

func removeListenerMetrics(r *Registry, listener string) {
	r.remove(&listenerConnections, listener)
	r.remove(&listenerAccepted, listener)
	r.remove(&listenerRefused, listener)
	r.remove(&listenerHandshakeFailures, listener)
	for _, reason := range proxyReasons {
		r.remove(&listenerProxyRefused, listener, reason)
	}
}

// Opened counts a connection that was accepted; Closed follows for each.
func (m *ListenerMetrics) Opened(shard uint32) {
	m.open.Add(shard, 1)
	m.accepted.Add(shard, 1)
}

// Closed counts a connection that was opened and is closed.
func (m *ListenerMetrics) Closed(shard uint32) { m.open.Add(shard, -1) }

// Refused counts a connection for which there was no room.
func (m *ListenerMetrics) Refused() { m.refused.Add(0, 1) }

// HandshakeFailed counts a connection with which TLS could not be agreed on.
func (m *ListenerMetrics) HandshakeFailed() { m.handshakeFailed.Add(0, 1) }

// ProxyProtocolRefused counts a connection that was closed because of what the PROXY
// protocol wants.
func (m *ListenerMetrics) ProxyProtocolRefused(reason string) {
	for i, known := range proxyReasons {
		if known == reason {
			m.proxyRefused[i].Add(0, 1)
		}
	}
}

// Open is the number of connections that are open.
func (m *ListenerMetrics) Open() int64 { return m.open.Value() }

// PolicyMetrics is what the engine counts with for a kind of policy. Carrying on
// is not counted: it is what most calls do.
type PolicyMetrics struct {
	Replies *meter.Counter
	Aborts  *meter.Counter
	Faults  *meter.Counter
	Panics  *meter.Counter
}

func newPolicyMetrics(r *Registry, kind string) *PolicyMetrics {
	return &PolicyMetrics{
		Replies: r.counter(&policyVerdicts, kind, "reply"),
		Aborts:  r.counter(&policyVerdicts, kind, "abort"),
		Faults:  r.counter(&policyVerdicts, kind, "fault"),
		Panics:  r.counter(&policyVerdicts, kind, "panic"),
	}
}
