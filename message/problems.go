package message

// The problems that wires, the engine and upstreams answer with. Policies and
// targets declare their own (policy.Problems).
var (
	BadRequest          = &Problem{Status: 400, Code: "bad_request", Title: "The request is malformed", Source: SourceClient, CloseConnection: true}
	BadRequestBody      = &Problem{Status: 400, Code: "bad_request_body", Title: "The request body is malformed or ended early", Source: SourceClient, CloseConnection: true}
	BadPath             = &Problem{Status: 400, Code: "bad_path", Title: "The request path is not acceptable", Source: SourceClient}
	RequestTimeout      = &Problem{Status: 408, Code: "request_timeout", Title: "The request took too long to arrive", Source: SourceClient, Retry: RetryNewConnection, CloseConnection: true}
	RequestTooLarge     = &Problem{Status: 413, Code: "request_too_large", Title: "The request body is too large", Source: SourceClient, CloseConnection: true}
	TargetTooLong       = &Problem{Status: 414, Code: "target_too_long", Title: "The request line is too long", Source: SourceClient, CloseConnection: true}
	ExpectationFailed   = &Problem{Status: 417, Code: "expectation_failed", Title: "The expectation is not supported", Source: SourceClient, CloseConnection: true}
	HeaderTooLarge      = &Problem{Status: 431, Code: "header_too_large", Title: "The request header is too large", Source: SourceClient, CloseConnection: true}
	ConnectRefused      = &Problem{Status: 405, Code: "connect_not_allowed", Title: "CONNECT is not allowed", Source: SourceClient, CloseConnection: true}
	UnknownProtocol     = &Problem{Status: 501, Code: "connect_protocol_unknown", Title: "The protocol of an extended CONNECT is not implemented", Source: SourceClient}
	UnknownCoding       = &Problem{Status: 501, Code: "transfer_coding_unknown", Title: "The transfer coding is not implemented", Source: SourceClient, CloseConnection: true}
	VersionUnsupported  = &Problem{Status: 505, Code: "http_version_unsupported", Title: "The HTTP version is not supported", Source: SourceClient, CloseConnection: true}
	ClientGone          = &Problem{Status: 499, Code: "client_gone", Title: "The client closed the connection before the answer", Source: SourceClient, CloseConnection: true}
	RouteNotFound       = &Problem{Status: 404, Code: "route_not_found", Title: "No route matches the request", Source: SourceClient}
	MethodNotAllowed    = &Problem{Status: 405, Code: "method_not_allowed", Title: "No route for this path takes the method", Source: SourceClient}
	UpgradeNotAllowed   = &Problem{Status: 403, Code: "upgrade_not_allowed", Title: "The route does not allow this protocol upgrade", Source: SourceClient}
	LoopDetected        = &Problem{Status: 508, Code: "loop_detected", Title: "The request came back to this gateway", Source: SourceGateway}
	TooManyConnections  = &Problem{Status: 503, Code: "too_many_connections", Title: "The listener has no room for another connection", Source: SourceGateway, Retry: RetryYes, CloseConnection: true}
	OutOfDescriptors    = &Problem{Status: 503, Code: "out_of_file_descriptors", Title: "The gateway has no file descriptor left", Source: SourceGateway, Retry: RetryYes}
	Internal            = &Problem{Status: 500, Code: "internal_error", Title: "The gateway made a mistake", Source: SourceGateway}
	PolicyPanic         = &Problem{Status: 500, Code: "policy_panic", Title: "A policy failed unexpectedly", Source: SourcePolicy}
	TargetPanic         = &Problem{Status: 500, Code: "target_panic", Title: "A target failed unexpectedly", Source: SourceGateway}
	PolicyFault         = &Problem{Status: 503, Code: "policy_fault", Title: "A policy could not decide", Source: SourcePolicy, Retry: RetryYes}
	UpstreamConnect     = &Problem{Status: 502, Code: "upstream_connect_failed", Title: "No connection to the origin", Source: SourceUpstream, Retry: RetryYes}
	UpstreamConnectTime = &Problem{Status: 504, Code: "upstream_connect_timeout", Title: "The origin did not accept a connection in time", Source: SourceUpstream, Retry: RetryYes}
	UpstreamUntrusted   = &Problem{Status: 502, Code: "upstream_untrusted", Title: "The origin's certificate is not believed", Source: SourceUpstream}
	UpstreamProtocol    = &Problem{Status: 502, Code: "upstream_protocol", Title: "The origin does not speak the protocol that it is spoken to with", Source: SourceUpstream}
	UpstreamTimeout     = &Problem{Status: 504, Code: "upstream_response_timeout", Title: "The origin did not answer in time", Source: SourceUpstream, Retry: RetryYes}
	UpstreamClosed      = &Problem{Status: 502, Code: "upstream_closed", Title: "The origin closed the connection before it answered", Source: SourceUpstream, Retry: RetryYes}
	UpstreamMalformed   = &Problem{Status: 502, Code: "upstream_malformed_response", Title: "The origin's answer is not valid HTTP", Source: SourceUpstream}
	UpstreamHeaderLimit = &Problem{Status: 502, Code: "upstream_header_too_large", Title: "The origin's answer has too large a header", Source: SourceUpstream}
	UpstreamBusy        = &Problem{Status: 503, Code: "upstream_connections_exhausted", Title: "All connections to the origin are in use", Source: SourceGateway, Retry: RetryYes}
	UpstreamNoEndpoint  = &Problem{Status: 503, Code: "upstream_no_endpoint", Title: "The upstream has no endpoint to send to", Source: SourceGateway, Retry: RetryYes}
	UpstreamOverloaded  = &Problem{Status: 503, Code: "upstream_overloaded", Title: "The upstream has as much to do as it can bear", Source: SourceGateway, Retry: RetryYes}
	UpstreamBroken      = &Problem{Status: 503, Code: "upstream_breaker_open", Title: "The upstream has failed too often and is left alone for a while", Source: SourceUpstream, Retry: RetryYes}
	UpstreamBodyBroken  = &Problem{Status: 502, Code: "upstream_body_broken", Title: "The origin's answer ended before its end", Source: SourceUpstream, CloseConnection: true}
	ClientWriteFailed   = &Problem{Status: 499, Code: "client_write_failed", Title: "The answer could not be written to the client", Source: SourceClient, CloseConnection: true}
	ClientTooSlow       = &Problem{Status: 499, Code: "client_too_slow", Title: "The client read the answer too slowly", Source: SourceClient, CloseConnection: true}
	RequestBodyTooSlow  = &Problem{Status: 408, Code: "request_body_timeout", Title: "The request body arrived too slowly", Source: SourceClient, Retry: RetryNewConnection, CloseConnection: true}
	DeadlineExceeded    = &Problem{Status: 504, Code: "deadline_exceeded", Title: "The time that the request has is over", Source: SourceGateway}
	ServiceShuttingDown = &Problem{Status: 503, Code: "shutting_down", Title: "The gateway is shutting down", Source: SourceGateway, Retry: RetryNewConnection, CloseConnection: true}
)

// Problems lists every problem of this package, for the documentation and for
// tests that look for codes given twice.
func Problems() []*Problem {
	return []*Problem{
		BadRequest, BadRequestBody, BadPath, RequestTimeout, RequestTooLarge, TargetTooLong, ExpectationFailed,
		HeaderTooLarge, ConnectRefused, UnknownProtocol, UnknownCoding, VersionUnsupported, ClientGone, RouteNotFound,
		MethodNotAllowed, UpgradeNotAllowed, LoopDetected, TooManyConnections, OutOfDescriptors, Internal,
		PolicyPanic, TargetPanic, PolicyFault, UpstreamConnect, UpstreamConnectTime, UpstreamUntrusted, UpstreamProtocol, UpstreamTimeout,
		UpstreamClosed, UpstreamMalformed, UpstreamHeaderLimit, UpstreamBusy, UpstreamNoEndpoint, UpstreamOverloaded, UpstreamBroken,
		UpstreamBodyBroken, ClientWriteFailed, ClientTooSlow, RequestBodyTooSlow, DeadlineExceeded, ServiceShuttingDown,
	}
}
