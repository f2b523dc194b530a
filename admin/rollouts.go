package admin

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gateway/sluice/internal/canary"
	"github.com/sluice-gateway/sluice/internal/nearest"
)

// Rollout is one that goes on. Shares are numbers from 0 to 1.
type Rollout struct {
	Route  string `json:"route"`
	From   string `json:"from"`
	To     string `json:"to"`
	Status string `json:"status"` // running, paused, completed, rolled_back, aborted
	// Share is what the new side gets.
	Share float64   `json:"share"`
	Step  int       `json:"step"` // from 1
	Steps []float64 `json:"steps"`
	// EverySeconds is how long a step lasts at least, ElapsedSeconds how much of that is over.
	EverySeconds   float64   `json:"every_seconds"`
	ElapsedSeconds float64   `json:"elapsed_seconds"`
	Since          time.Time `json:"since,omitzero"`      // of the status
	StepSince      time.Time `json:"step_since,omitzero"` // of the share
	// Reason is why it has this status, Waiting what the next step waits for beyond its time.
	Reason  string `json:"reason,omitempty"`
	Waiting string `json:"waiting,omitempty"`
	// Decides is false where another process decides, and this one does as that says.
	Decides bool `json:"decides"`
	// New and Old are what both sides have answered lately, in this step.
	New RolloutSide `json:"new"`
	Old RolloutSide `json:"old"`
}

// RolloutSide is how one side has answered.
type RolloutSide struct {
	Requests   int64   `json:"requests"`
	Failed     int64   `json:"failed"`
	P99Seconds float64 `json:"p99_seconds"`
}

// rolloutsPath is the list; below it there is each roll-out under its route's name,
// percent-encoded, and below that its actions.
const rolloutsPath = "/rollouts"

// rolloutList is the answer for all of them.
type rolloutList struct {
	Rollouts []Rollout `json:"rollouts"`
}

func listRollouts(w http.ResponseWriter, o *Options) {
	writeJSON(w, http.StatusOK, rolloutList{append([]Rollout{}, o.Rollouts()...)})
}

// findRollout returns the roll-out of a route, or the routes that have one.
func findRollout(o *Options, route string) (r Rollout, known []string, found bool) {
	for _, r := range o.Rollouts() {
		if r.Route == route {
			return r, nil, true
		}
		known = append(known, r.Route)
	}
	return Rollout{}, known, false
}

// serveRollout answers what is below the list: ROUTE, and ROUTE/ACTION.
func serveRollout(w http.ResponseWriter, r *http.Request, o *Options) {
	name, action, acts := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), rolloutsPath+"/"), "/")
	route, err := url.PathUnescape(name)
	if err != nil {
		writeProblem(w, http.StatusNotFound, "not_found", "the name of the route is not percent-encoded as a segment of a path is")
		return
	}
	found, known, ok := findRollout(o, route)
	if !ok {
		writeProblem(w, http.StatusNotFound, "rollout_not_found", "no route "+strconv.Quote(route)+" has a rollout"+meant(route, known))
		return
	}
	if !acts {
		if !reads(r) {
			w.Header().Set("Allow", "GET, HEAD")
			writeProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "a rollout can be read here; what changes it is below: POST "+r.URL.EscapedPath()+"/pause, say")
			return
		}
		writeJSON(w, http.StatusOK, found)
		return
	}
	steer(w, r, o, route, action)
}

// meant names the nearest of those that there are.
func meant(word string, known []string) string {
	if near := nearest.Word(word, known); near != "" {
		return "; did you mean " + strconv.Quote(near) + "?"
	}
	if len(known) == 0 {
		return "; none has"
	}
	const most = 10
	if len(known) > most {
		known = append(known[:most:most], "…")
	}
	return "; there are " + strings.Join(known, ", ")
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// steer does what an operator wants, and answers with what came of it.
func steer(w http.ResponseWriter, r *http.Request, o *Options, route, action string) {
	var actions []string
	for _, a := range canary.Actions() {
		actions = append(actions, string(a))
	}
	if !slices.Contains(actions, action) {
		writeProblem(w, http.StatusNotFound, "not_found", strconv.Quote(action)+" is nothing that can be done to a rollout"+meant(action, actions))
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		writeProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "this changes something: use POST")
		return
	}
	if !mayChange(w, r) {
		return
	}
	var refusal *canary.Refusal
	switch err := o.Steer(route, action); {
	case errors.As(err, &refusal):
		writeProblem(w, http.StatusConflict, "rollout_state", refusal.Text)
		return
	case err != nil:
		writeProblem(w, http.StatusInternalServerError, "internal_error", err.Error())
		return
	}
	after, _, ok := findRollout(o, route)
	if !ok {
		writeProblem(w, http.StatusConflict, "rollout_state", "the configuration has changed: the route has no rollout any more")
		return
	}
	writeJSON(w, http.StatusOK, after)
}

// bodyLimit is how long the body of a change may be.
const bodyLimit = 1 << 10

// mayChange refuses what a web page could make a browser send, and what comes from other
// machines: the listener has no credentials, and whoever reads the metrics must not be
// able to change anything. A page can send neither JSON nor a name of our own machine
// without being asked about by the browser first, which we never grant.
func mayChange(w http.ResponseWriter, r *http.Request) bool {
	if !fromHere(r) {
		writeProblem(w, http.StatusForbidden, "changes_not_allowed", "changes are taken from this machine only: ask from there, by way of the loopback address")
		return false
	}
	if !localHost(r.Host) {
		writeProblem(w, http.StatusMisdirectedRequest, "host_not_allowed", "changes are taken by an IP address or as localhost only")
		return false
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		writeProblem(w, http.StatusForbidden, "cross_site", "this request comes from a page of another site")
		return false
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		writeProblem(w, http.StatusUnsupportedMediaType, "json_required", "send Content-Type: application/json, and {} or nothing as the body")
		return false
	}
	return emptyBody(w, r)
}

// emptyBody takes nothing, and an object without members.
func emptyBody(w http.ResponseWriter, r *http.Request) bool {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeProblem(w, http.StatusRequestEntityTooLarge, "request_too_large", "the body is {} or nothing")
		return false
	case err != nil:
		writeProblem(w, http.StatusBadRequest, "bad_request", "the body did not arrive")
		return false
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return true
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || members == nil || len(members) > 0 {
		writeProblem(w, http.StatusBadRequest, "bad_request", "the body is {} or nothing")
		return false
	}
	return true
}

// fromHere says whether a request was sent by this machine: from a loopback address, or
// from the very address that it was sent to.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	from := peer.Addr().Unmap()
	if from.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == from
}
