package observe

import "time"

// The limits of the gateway's own metrics, in routes, upstreams and so on; what
// comes after counts under Other.
const (
	maxRoutes    = 1000
	maxUpstreams = 1000
	maxListeners = 100
	maxProblems  = 200
	maxFloods    = 20 // kinds, over all protocols

	maxEndpoints      = 10_000 // of all upstreams
	maxEndpointsOfOne = 1000   // of one upstream
	maxGroupMembers   = 2000   // of all upstreams that are made of others
)

// The bounds of the first buckets. With 17 bounds, each twice the one before, an
// exchange is told apart from 500 µs to 32.8 s, a connect from 100 µs to 6.6 s.
const (
	smallestExchange = 500 * time.Microsecond
	smallestConnect  = 100 * time.Microsecond
)

// statusLabels are the values of the label status. "none" is an exchange that
// ended without a status: the client or the origin went away.
var statusLabels = [statusClasses]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

const statusClasses = 6

// proxyReasons are why connections are refused because of the PROXY protocol; package
// listen says them.
var proxyReasons = [...]string{"untrusted", "missing", "malformed", "timeout", "closed"}

// memberStates are how a member of an upstream that is made of others can do; package
// upstream/spill says them.
var memberStates = [...]string{"serving", "full", "left", "returning"}

// rolloutStates are the states of a roll-out.
var rolloutStates = [...]string{"running", "paused", "completed", "rolled_back", "aborted"}

// The metrics that the gateway itself has. Policies add their own.
var (
	buildInfo = Metric{Name: "sluice_build_info", Kind: KindGauge, Labels: []string{"version", "go_version"}, Limit: 1,
		Help: "Always 1; the labels say what is running."}
	uptime = Metric{Name: "sluice_uptime_seconds", Kind: KindGauge,
		Help: "Time since the gateway started."}
	configRevision = Metric{Name: "sluice_config_revision", Kind: KindGauge,
		Help: "Number of the configuration revision that is applied; 0 before the first."}
	configInfo = Metric{Name: "sluice_config_info", Kind: KindGauge, Labels: []string{"hash"}, Limit: 1,
		Help: "Always 1; the label is the content hash of the configuration that is applied."}
	configApplied = Metric{Name: "sluice_config_applied_timestamp_seconds", Kind: KindGauge,
		Help: "Unix time at which the configuration was applied."}
	configReloads = Metric{Name: "sluice_config_reloads_total", Kind: KindCounter, Labels: []string{"result"}, Limit: 2,
		Help: "Configurations that were applied (success) or refused (failure), the first one included."}
	handovers = Metric{Name: "sluice_handovers_total", Kind: KindCounter, Labels: []string{"result"}, Limit: 3,
		Help: "Hand-overs of the listening sockets: this process took them over from the one before (taken), gave them to the next (given), or kept them because the next could not serve (failed)."}

	listenerConnections = Metric{Name: "sluice_listener_connections", Kind: KindGauge, Labels: []string{"listener"}, Limit: maxListeners,
		Help: "Client connections that are open."}
	listenerAccepted = Metric{Name: "sluice_listener_accepted_total", Kind: KindCounter, Labels: []string{"listener"}, Limit: maxListeners,
		Help: "Client connections that were accepted."}
	listenerRefused = Metric{Name: "sluice_listener_refused_total", Kind: KindCounter, Labels: []string{"listener"}, Limit: maxListeners,
		Help: "Client connections that were closed because the listener had no room."}
	listenerHandshakeFailures = Metric{Name: "sluice_listener_tls_handshake_failures_total", Kind: KindCounter, Labels: []string{"listener"}, Limit: maxListeners,
		Help: "Client connections with which TLS could not be agreed on."}
	listenerProxyRefused = Metric{Name: "sluice_listener_proxy_protocol_refused_total", Kind: KindCounter, Labels: []string{"listener", "reason"}, Limit: maxListeners * len(proxyReasons),
		Help: "Client connections that were closed because of the PROXY protocol: the peer is no trusted proxy (untrusted), sent no header (missing), a malformed one, none in time (timeout), or left before (closed)."}
	listenerFloods = Metric{Name: "sluice_listener_floods_total", Kind: KindCounter, Labels: []string{"listener", "protocol", "kind"}, Limit: maxListeners * maxFloods,
		Help: "Connections over HTTP/2 and HTTP/3 that were closed because the client did too much of something that makes work: reset, continuation, empty_data, ping, settings, priority, window_update, unknown frames (also those of streams that have ended), queue (answers to frames that it does not read), over HTTP/3 also streams and control; stall: streams that were given up because the client did not read."}
	listenerResets = Metric{Name: "sluice_listener_streams_reset_total", Kind: KindCounter, Labels: []string{"listener", "protocol", "reason"}, Limit: maxListeners * 6,
		Help: "Streams over HTTP/2 and HTTP/3 that ended without an answer: the client took them back (client), opened too many (refused), or broke a rule (malformed)."}
	upstreamFloods = Metric{Name: "sluice_upstream_floods_total", Kind: KindCounter, Labels: []string{"upstream", "kind"}, Limit: (maxUpstreams + 1) * maxFloods,
		Help: "Connections over HTTP/2 that were closed because the origin did too much of something that makes work; the kinds are those of sluice_listener_floods_total."}
	certificateLeft = Metric{Name: "sluice_certificate_remaining_seconds", Kind: KindGauge, Labels: []string{"listener", "source"},
		Help: "How long a certificate is valid yet; negative where it has expired."}
	certificateProblems = Metric{Name: "sluice_certificate_problems", Kind: KindGauge, Labels: []string{"listener"}, Limit: maxListeners,
		Help: "Certificates that need somebody: files that have changed and cannot be used, so that those before stay in use, expired ones, and domains for which no authority gives any. Those of authorities, and those for origins, are counted under no listener."}

	httpRequests = Metric{Name: "sluice_http_requests_total", Kind: KindCounter, Labels: []string{"route", "status"}, Limit: (maxRoutes + 2) * statusClasses,
		Help: "Requests that were answered, by route and class of the status."}
	httpDuration = Metric{Name: "sluice_http_request_duration_seconds", Kind: KindHistogram, Labels: []string{"route"}, Limit: maxRoutes + 2, Smallest: smallestExchange,
		Help: "Time from the complete head of a request to the last byte of its answer."}
	httpBytesIn = Metric{Name: "sluice_http_request_bytes_total", Kind: KindCounter, Labels: []string{"route"}, Limit: maxRoutes + 2,
		Help: "Bytes that came from clients, heads included."}
	httpBytesOut = Metric{Name: "sluice_http_response_bytes_total", Kind: KindCounter, Labels: []string{"route"}, Limit: maxRoutes + 2,
		Help: "Bytes that were sent to clients, heads included."}

	upstreamRequests = Metric{Name: "sluice_upstream_requests_total", Kind: KindCounter, Labels: []string{"upstream", "status"}, Limit: (maxUpstreams + 1) * statusClasses,
		Help: "Requests that were sent to origins, each try counted, by upstream and class of the status; none where no answer came."}
	upstreamRetries = Metric{Name: "sluice_upstream_retries_total", Kind: KindCounter, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Requests that were sent to an origin again."}
	upstreamRetriesRefused = Metric{Name: "sluice_upstream_retries_refused_total", Kind: KindCounter, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Requests that were not sent to an origin again because the budget of retries was spent."}
	upstreamHedges = Metric{Name: "sluice_upstream_hedges_total", Kind: KindCounter, Labels: []string{"upstream", "result"}, Limit: (maxUpstreams + 1) * hedgeResults,
		Help: "Requests that were to go to one more endpoint because an answer took long: its answer was used (won), it was in vain (lost), or it was not sent for want of budget or room (refused)."}
	upstreamConnect = Metric{Name: "sluice_upstream_connect_duration_seconds", Kind: KindHistogram, Labels: []string{"upstream"}, Limit: maxUpstreams + 1, Smallest: smallestConnect,
		Help: "Time to open a new connection to an origin; pooled connections are not counted."}
	upstreamConnectFailures = Metric{Name: "sluice_upstream_connect_failures_total", Kind: KindCounter, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Connections to origins that could not be opened."}
	upstreamFirstByte = Metric{Name: "sluice_upstream_first_byte_duration_seconds", Kind: KindHistogram, Labels: []string{"upstream"}, Limit: maxUpstreams + 1, Smallest: smallestExchange,
		Help: "Time from sending a request to an origin to the complete head of its answer."}
	upstreamConnections = Metric{Name: "sluice_upstream_connections", Kind: KindGauge, Labels: []string{"upstream", "endpoint", "state"}, Limit: 2 * (maxEndpoints + maxUpstreams + 1),
		Help: "Connections to origins by endpoint; active ones carry a request, idle ones wait in the pool. Those past the first 1,000 endpoints of an upstream count under other."}

	upstreamEndpoints = Metric{Name: "sluice_upstream_endpoints", Kind: KindGauge, Labels: []string{"upstream", "state"}, Limit: (maxUpstreams + 1) * len(endpointStates),
		Help: "Endpoints of an upstream: healthy ones, and those that get no requests because checks say so (unhealthy) or because of their answers (ejected)."}
	upstreamEndpointHealthy = Metric{Name: "sluice_upstream_endpoint_healthy", Kind: KindGauge, Labels: []string{"upstream", "endpoint"}, Limit: maxEndpoints + maxUpstreams + 1,
		Help: "1 where an endpoint is healthy, else 0. Past the first 1,000 of an upstream the endpoint is other, and the value the number of healthy ones."}
	upstreamHealthChecks = Metric{Name: "sluice_upstream_health_checks_total", Kind: KindCounter, Labels: []string{"upstream", "result"}, Limit: (maxUpstreams + 1) * len(checkResults),
		Help: "Active checks of endpoints, by what they found: good or bad."}
	upstreamEjections = Metric{Name: "sluice_upstream_ejections_total", Kind: KindCounter, Labels: []string{"upstream", "reason"}, Limit: (maxUpstreams + 1) * len(ejectionReasons),
		Help: "Ejections of endpoints, by reason."}
	upstreamBreakerState = Metric{Name: "sluice_upstream_breaker_state", Kind: KindGauge, Labels: []string{"upstream", "endpoint"}, Limit: maxEndpoints + 2*(maxUpstreams+1),
		Help: "What a breaker does: 0 where it is closed, 1 half-open, 2 open. That of the upstream as a whole has no endpoint; past the first 1,000 of an upstream the endpoint is other, and the value that of the worst."}
	upstreamBreakerOpened = Metric{Name: "sluice_upstream_breaker_opened_total", Kind: KindCounter, Labels: []string{"upstream", "scope"}, Limit: (maxUpstreams + 1) * len(breakerScopes),
		Help: "How often breakers have opened, again after a probe included: those of endpoints, and the upstream's."}
	upstreamBreakerRefused = Metric{Name: "sluice_upstream_breaker_refused_total", Kind: KindCounter, Labels: []string{"upstream", "scope"}, Limit: (maxUpstreams + 1) * len(breakerScopes),
		Help: "Tries that breakers have refused. After the refusal of an endpoint's another endpoint is asked, if there is one."}

	upstreamConcurrency = Metric{Name: "sluice_upstream_concurrency", Kind: KindGauge, Labels: []string{"upstream", "state"}, Limit: (maxUpstreams + 1) * 3,
		Help: "Requests that wait for an answer of an upstream with a limit of them: the limit, active ones, and those that wait for their turn."}
	upstreamShed = Metric{Name: "sluice_upstream_shed_total", Kind: KindCounter, Labels: []string{"upstream", "reason"}, Limit: (maxUpstreams + 1) * 3,
		Help: "Requests that were refused because an upstream has as much to do as it can: the queue was full, others took their place in it, or they waited too long."}

	groupRequests = Metric{Name: "sluice_upstream_group_requests_total", Kind: KindCounter, Labels: []string{"upstream", "member"}, Limit: maxGroupMembers,
		Help: "Requests that a member of an upstream made of others got; one that goes on to another member counts at both."}
	groupSpilled = Metric{Name: "sluice_upstream_group_spilled_total", Kind: KindCounter, Labels: []string{"upstream", "member"}, Limit: maxGroupMembers,
		Help: "Those of them that spilled to it: it is not of the first level."}
	groupFailures = Metric{Name: "sluice_upstream_group_failures_total", Kind: KindCounter, Labels: []string{"upstream", "member"}, Limit: maxGroupMembers,
		Help: "Those of them that failed: the member was not reached, did not answer, or with a status from 500 to 599."}
	groupPassed = Metric{Name: "sluice_upstream_group_passed_over_total", Kind: KindCounter, Labels: []string{"upstream", "member"}, Limit: maxGroupMembers,
		Help: "How often a member was passed over because it had no room: its capacity or what may spill to it was used up."}
	groupRefused = Metric{Name: "sluice_upstream_group_refused_total", Kind: KindCounter, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Requests that were refused because no member had room."}
	groupState = Metric{Name: "sluice_upstream_group_member_state", Kind: KindGauge, Labels: []string{"upstream", "member", "state"}, Limit: maxGroupMembers * len(memberStates),
		Help: "1 for the state in which a member is, 0 for the others: serving, full, left because it is ill, or returning with a share that grows."}

	discoveryUpdates = Metric{Name: "sluice_discovery_updates_total", Kind: KindCounter, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Lists of endpoints that a source told and that were other than the one before."}
	discoveryFaults = Metric{Name: "sluice_discovery_faults_total", Kind: KindCounter, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Faults of sources of endpoints; one that lasts counts once."}
	discoveryAge = Metric{Name: "sluice_discovery_age_seconds", Kind: KindGauge, Labels: []string{"upstream"}, Limit: maxUpstreams + 1,
		Help: "Time since the source of endpoints last had a good list, changed or not; nothing before its first."}

	rolloutShare = Metric{Name: "sluice_rollout_share", Kind: KindGauge, Labels: []string{"route"}, Limit: maxRoutes,
		Help: "The share of a route's requests that its roll-out sends to the new side, from 0 to 1."}
	rolloutState = Metric{Name: "sluice_rollout_state", Kind: KindGauge, Labels: []string{"route", "state"}, Limit: maxRoutes * len(rolloutStates),
		Help: "1 for the state that a roll-out is in, 0 for the others."}
	rolloutRequests = Metric{Name: "sluice_rollout_requests_total", Kind: KindCounter, Labels: []string{"route", "side", "result"}, Limit: maxRoutes * 4,
		Help: "Requests that a roll-out sent to its old and its new side, by whether they failed there; those of clients that left are not counted."}

	problems = Metric{Name: "sluice_problems_total", Kind: KindCounter, Labels: []string{"code", "source"}, Limit: maxProblems,
		Help: "Exchanges that ended with a problem, by its code and by who is to blame."}
	policyVerdicts = Metric{Name: "sluice_policy_verdicts_total", Kind: KindCounter, Labels: []string{"policy", "verdict"},
		Help: "What policies decided where it was not to carry on, by kind of policy: reply, abort, fault or panic."}

	accessLogLines = Metric{Name: "sluice_access_log_lines_total", Kind: KindCounter,
		Help: "Lines that were written to the access log."}
	accessLogDropped = Metric{Name: "sluice_access_log_dropped_total", Kind: KindCounter, Labels: []string{"reason"}, Limit: 2,
		Help: "Lines that are missing in the access log: queue_full where it could not be written fast enough, write_error where writing failed."}

	processCPU = Metric{Name: "process_cpu_seconds_total", Kind: KindCounter,
		Help: "CPU time that the process has used, user and system."}
	processResident = Metric{Name: "process_resident_memory_bytes", Kind: KindGauge,
		Help: "Memory of the process that is in RAM."}
	processFDs = Metric{Name: "process_open_fds", Kind: KindGauge,
		Help: "File descriptors that are open."}
	processMaxFDs = Metric{Name: "process_max_fds", Kind: KindGauge,
		Help: "File descriptors that may be open."}
	processStart = Metric{Name: "process_start_time_seconds", Kind: KindGauge,
		Help: "Unix time at which the gateway started."}
	goGoroutines = Metric{Name: "go_goroutines", Kind: KindGauge,
		Help: "Goroutines that exist."}
	goHeap = Metric{Name: "go_heap_objects_bytes", Kind: KindGauge,
		Help: "Memory taken by objects on the Go heap."}
	goMemory = Metric{Name: "go_memory_bytes", Kind: KindGauge,
		Help: "Memory that the Go run time has mapped."}
	goGCCycles = Metric{Name: "go_gc_cycles_total", Kind: KindCounter,
		Help: "Garbage collections that were completed."}
)

// Catalogue lists every metric that the gateway itself has, for the documentation.
func Catalogue() []Metric {
	return []Metric{
		buildInfo, uptime, configRevision, configInfo, configApplied, configReloads, handovers,
		listenerConnections, listenerAccepted, listenerRefused, listenerHandshakeFailures, listenerProxyRefused, listenerFloods, listenerResets, certificateLeft, certificateProblems,
		httpRequests, httpDuration, httpBytesIn, httpBytesOut,
		upstreamRequests, upstreamRetries, upstreamRetriesRefused, upstreamHedges, upstreamConnect, upstreamConnectFailures, upstreamFirstByte, upstreamConnections, upstreamFloods,
		upstreamEndpoints, upstreamEndpointHealthy, upstreamHealthChecks, upstreamEjections, upstreamBreakerState, upstreamBreakerOpened, upstreamBreakerRefused,
		discoveryUpdates, discoveryFaults, discoveryAge, upstreamConcurrency, upstreamShed,
		groupRequests, groupSpilled, groupFailures, groupPassed, groupRefused, groupState,
		rolloutShare, rolloutState, rolloutRequests,
		problems, policyVerdicts, accessLogLines, accessLogDropped,
		processCPU, processResident, processFDs, processMaxFDs, processStart,
		goGoroutines, goHeap, goMemory, goGCCycles,
	}
}
