// Package admin is the listener for those who operate the gateway: metrics,
// health, readiness and status, and roll-outs, which can be steered. It knows of the
// gateway what its Options tell it.
package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// maxRequests is how many requests are answered at once: a scrape costs CPU time
// that belongs to the traffic.
const maxRequests = 16

// Options are what the admin listener is made of. The functions are called by
// many goroutines.
type Options struct {
	// Address is where to listen; "" is DefaultAddress.
	Address string
	// Socket listens already; nil is that the address is to be bound.
	Socket net.Listener
	// Metrics writes the metrics in the Prometheus text format 0.0.4.
	Metrics   func(w io.Writer) error
	Readiness func() Readiness
	Status    func() Status
	// Rollouts lists the roll-outs, and Steer does something to that of a route: the error
	// is a *canary.Refusal where it makes no sense now. Both may be nil: there are none.
	Rollouts func() []Rollout
	Steer    func(route, action string) error
	Logger   *slog.Logger
}

// operation is one path and what answers it.
type operation struct {
	path   string
	answer func(w http.ResponseWriter)
}

// handler answers the requests of the admin listener.
type handler struct {
	options    *Options
	operations []operation
	slots      chan struct{}
	// local says that the socket is bound to a loopback address.
	local bool
}

// newHandler makes the handler; local is whether only this machine can reach it.
func newHandler(o *Options, local bool) http.Handler {
	h := &handler{
		options: o,
		slots:   make(chan struct{}, maxRequests),
		local:   local,
		operations: []operation{
			{"/healthz", func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, health{Alive: true}) }},
			{"/metrics", func(w http.ResponseWriter) { writeMetrics(w, o) }},
			{"/readyz", func(w http.ResponseWriter) {
				ready, status := o.Readiness(), http.StatusOK
				if !ready.Ready {
					status = http.StatusServiceUnavailable
				}
				writeJSON(w, status, ready)
			}},
			{"/status", func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, o.Status().withLists()) }},
		},
	}
	if o.Rollouts != nil {
		h.operations = append(h.operations, operation{rolloutsPath, func(w http.ResponseWriter) { listRollouts(w, o) }})
	}
	return h
}

// health is the answer of a process that can answer.
type health struct {
	Alive bool `json:"alive"`
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if h.local && !localHost(r.Host) {
		writeProblem(w, http.StatusMisdirectedRequest, "host_not_allowed",
			"this listener is for this machine only; ask it by an IP address or as localhost")
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		header.Set("Retry-After", "1")
		writeProblem(w, http.StatusServiceUnavailable, "busy", "too many requests are being answered; try again in a second")
		return
	}
	for _, op := range h.operations {
		if op.path != r.URL.Path {
			continue
		}
		if !reads(r) {
			header.Set("Allow", "GET, HEAD")
			writeProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", op.path+" can only be read: use GET")
			return
		}
		op.answer(w)
		return
	}
	if h.options.Rollouts != nil && strings.HasPrefix(r.URL.Path, rolloutsPath+"/") {
		serveRollout(w, r, h.options)
		return
	}
	writeProblem(w, http.StatusNotFound, "not_found", "there are "+h.paths())
}

// paths lists the operations, for whoever took a wrong one.
func (h *handler) paths() string {
	all := make([]string, len(h.operations))
	for i, op := range h.operations {
		all[i] = op.path
	}
	return strings.Join(all, ", ")
}

// localHost says whether a request names us in a way that only our own machine
// would. A web page can make its visitor's browser ask 127.0.0.1 under the page's
// own name (DNS rebinding) and would then be allowed to read the answer.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

func writeMetrics(w http.ResponseWriter, o *Options) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if err := o.Metrics(w); err != nil {
		// The status is sent; only a broken connection tells that this is not all.
		panic(http.ErrAbortHandler)
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		// A figure that JSON cannot spell.
		writeProblem(w, http.StatusInternalServerError, "internal_error", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // Whoever went away needs no answer.
}

// problem is a problem document without a type of its own, so its title is the
// status in words (RFC 9457 §4.2.1).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	text, _ := json.Marshal(problem{http.StatusText(status), status, detail, code}) // Strings and a number always can.
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // Whoever went away needs no answer.
}
