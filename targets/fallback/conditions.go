package fallback

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/upstream/retry"
)

// failure is a bit for each way in which a target fails without an answer.
type failure uint8

const (
	connectFailure failure = 1 << iota
	reset
	timeout
	malformed
	breakerOpen
	overloaded
	noEndpoint
)

// failures are the words for them, which are those of retries where there are the same.
func failures() []struct {
	word string
	bit  failure
} {
	return []struct {
		word string
		bit  failure
	}{
		{"connect_failure", connectFailure}, {"reset", reset}, {"timeout", timeout}, {"malformed", malformed},
		{"breaker_open", breakerOpen}, {"overloaded", overloaded}, {"no_endpoint", noEndpoint},
	}
}

// unsent are the failures after which no origin has seen the request, but for earlier tries.
const unsent = connectFailure | breakerOpen | overloaded | noEndpoint

// conditions are the failures after which something else is asked.
type conditions struct {
	failures failure
	answers  retry.Conditions // statuses
}

// compile reads the words.
func compile(list []Condition) (conditions, error) {
	var c conditions
	var errs []error
	var answers []string
next:
	for _, word := range list {
		for _, f := range failures() {
			if string(word) == f.word {
				c.failures |= f.bit
				continue next
			}
		}
		answers = append(answers, string(word))
	}
	var err error
	if c.answers, err = retry.Compile(answers); err != nil {
		errs = append(errs, errors.New(strings.TrimPrefix(err.Error(), "retry: ")))
	}
	if len(list) == 0 {
		errs = append(errs, fmt.Errorf("the list is empty, so nothing would ever be asked in the target's place: leave it out to keep %s", defaultOn))
	}
	return c, errors.Join(errs...)
}

// afterSent says that a failure may come when an origin has seen the request.
func (c *conditions) afterSent() bool {
	return c.failures&^unsent != 0 || !c.answers.Empty()
}

// cause is why something else is asked; without a text there is no reason to.
type cause struct {
	text string
	// named says that it is a gRPC status that stands in the list.
	named bool
}

// cause looks at what a target has come to.
func (c *conditions) cause(x *message.Exchange, err error) cause {
	if err == nil {
		return c.answered(&x.Response)
	}
	var problem *message.Problem
	if !errors.As(err, &problem) || c.failures&failureOf(problem) == 0 {
		return cause{}
	}
	return cause{text: problem.Code}
}

// failureOf says which failure a problem is; 0 for what is nobody's fault but the client's or
// the gateway's.
func failureOf(p *message.Problem) failure {
	switch p.Code {
	case message.UpstreamConnect.Code, message.UpstreamConnectTime.Code, message.UpstreamUntrusted.Code, message.UpstreamProtocol.Code:
		return connectFailure
	case message.UpstreamClosed.Code:
		return reset
	case message.UpstreamTimeout.Code, message.DeadlineExceeded.Code:
		return timeout
	case message.UpstreamMalformed.Code, message.UpstreamHeaderLimit.Code:
		return malformed
	case message.UpstreamBroken.Code:
		return breakerOpen
	case message.UpstreamOverloaded.Code, message.UpstreamBusy.Code:
		return overloaded
	case message.UpstreamNoEndpoint.Code:
		return noEndpoint
	}
	return 0
}

func (c *conditions) answered(resp *message.Response) cause {
	if c.answers.HasGRPC() {
		if text := resp.Header.Get("Grpc-Status"); text != "" {
			if status, err := strconv.Atoi(text); err == nil && c.answers.GRPC(status) {
				return cause{"grpc-status " + text, true}
			}
		}
	}
	if c.answers.Status(resp.Status) {
		return cause{text: statusText(resp.Status)}
	}
	return cause{}
}

// statusText is a status as the access log shows it, without an allocation for those that
// are most usual.
func statusText(status int) string {
	usual := [...]struct {
		status int
		text   string
	}{{500, "500"}, {502, "502"}, {503, "503"}, {504, "504"}, {429, "429"}}
	for _, u := range usual {
		if u.status == status {
			return u.text
		}
	}
	return strconv.Itoa(status)
}

// words lists the words of failures, for messages and patterns.
func words() []string {
	var all []string
	for _, f := range failures() {
		all = append(all, f.word)
	}
	return slices.Clip(all)
}
