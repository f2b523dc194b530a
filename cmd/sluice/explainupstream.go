package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/config/traffic"
)

func describeUpstream(item config.Item[config.Upstream]) upstreamInPlace {
	u := item.Value
	if len(u.Members) > 0 {
		return upstreamInPlace{place: placeOf(item, upstreamName), Members: levelWords(u), Timeouts: groupTimeWords(&u.Timeouts)}
	}
	d := upstreamInPlace{place: placeOf(item, upstreamName), Protocol: u.Protocol, Balance: u.Balance.Method}
	if u.Balance.Method == "sticky" {
		d.Balance += " (cookie " + u.Balance.CookieOf(u.Name.Value) + "), first " + u.Balance.Chooses()
	}
	if u.Balance.Chooses() == "consistent_hash" {
		d.Balance += " of " + u.Balance.Key
	}
	if u.Discovery != nil {
		d.Discovery = u.Discovery.Words()
	}
	for _, e := range u.Endpoints {
		d.Endpoints = append(d.Endpoints, endpointWords(&e))
	}
	d.TLS = tlsWords(u)
	d.Preferences = preferenceWords(u)
	d.Timeouts = timeoutWords(&u.Timeouts)
	d.Connections = connectionWords(u)
	d.Retry = retryWords(&u.Retry)
	d.Health = healthWords(u)
	d.Concurrency = concurrencyWords(u.Concurrency)
	return d
}

// tlsWords says whom the gateway believes where it speaks TLS; "" where it does not.
func tlsWords(u *config.Upstream) string {
	d := u.Discovery
	// A file and an HTTP server tell the scheme of each endpoint.
	speaks := d != nil && (d.Scheme == "https" || d.File != "" || d.HTTP != nil) ||
		slices.ContainsFunc(u.Endpoints, func(e traffic.Endpoint) bool { return e.URL.Secure() })
	if !speaks {
		return ""
	}
	t := &u.TLS
	words := "with TLS believes the authorities of "
	switch {
	case t.InsecureSkipVerify:
		words = "with TLS believes every certificate: whoever is in between can read and change everything"
	case t.Authorities != "":
		words += t.Authorities
	default:
		words += "the system"
	}
	if len(t.Names) > 0 {
		words += ", for " + strings.Join(t.Names, " or ")
	} else if t.ServerName != "" {
		words += ", for " + t.ServerName
	}
	if len(t.Pins) > 0 {
		words += ", with a pinned key"
	}
	if t.Certificate != "" {
		words += "; shows " + t.Certificate
	}
	return words
}

// preferenceWords says which endpoints come before others, beyond their weights and levels.
func preferenceWords(u *config.Upstream) (lines []string) {
	if z := u.Zone; z != nil {
		lines = append(lines, fmt.Sprintf("stays in zone %s while %s of its endpoints are well", z.Name, z.Minimum))
	}
	if u.SlowStart > 0 {
		lines = append(lines, fmt.Sprintf("spares an endpoint that is new or well again for %s: its share grows", u.SlowStart))
	}
	if u.PanicThreshold > 0 && (u.Health != nil || u.Ejection != nil || u.Breaker != nil) {
		lines = append(lines, fmt.Sprintf("uses all endpoints, ill ones too, when less than %s of them are well", u.PanicThreshold))
	}
	return lines
}

func connectionWords(u *config.Upstream) string {
	words := fmt.Sprintf("holds up to %s to each endpoint, and keeps %d of them for %s when unused", counted(u.Connections.Max, "connection"), u.Connections.Idle, u.Timeouts.Idle)
	if u.Connections.Idle == 0 {
		words = fmt.Sprintf("holds up to %s to each endpoint, and keeps none unused", counted(u.Connections.Max, "connection"))
	}
	if u.ProxyProtocol != "off" {
		words += "; says in each whose it is (PROXY protocol " + u.ProxyProtocol + ")"
	}
	return words
}

// groupTimeWords are the times that an upstream made of others has, "" where it has none.
func groupTimeWords(t *traffic.Timeouts) string {
	var words []string
	if t.Request > 0 {
		words = append(words, "gives the whole request "+t.Request.String())
	}
	if t.DeadlineHeader != "" {
		words = append(words, "no longer than "+t.DeadlineHeader+" says")
	}
	return strings.Join(words, "; ")
}

func timeoutWords(t *traffic.Timeouts) string {
	text := fmt.Sprintf("waits %s to connect, %s for an answer, %s within a body", t.Connect, t.Response, t.Body)
	if t.Try > 0 {
		text += "; gives each try " + t.Try.String()
	}
	if t.Request > 0 {
		text += "; gives the whole request " + t.Request.String()
	}
	if t.DeadlineHeader != "" {
		text += "; no longer than " + t.DeadlineHeader + " says"
	}
	return text
}

// healthWords says who watches the endpoints, and what follows.
func healthWords(u *config.Upstream) (lines []string) {
	if h := u.Health; h != nil {
		what := "over " + h.Protocol
		if h.Protocol == "http" {
			what = "for " + h.Path
		}
		lines = append(lines, fmt.Sprintf("asks each endpoint %s every %s; %s in a row make it unhealthy, %s healthy",
			what, h.Interval, counted(h.Unhealthy, "bad answer"), counted(h.Healthy, "good one")))
	}
	if e := u.Ejection; e != nil {
		var why []string
		if e.Consecutive > 0 {
			why = append(why, counted(e.Consecutive, "failure")+" in a row")
		}
		if e.FailureShare > 0 {
			why = append(why, e.FailureShare.String()+" of failures")
		}
		if e.SuccessDeviations > 0 {
			why = append(why, "far fewer successes than its peers")
		}
		if e.Latency > 0 {
			why = append(why, e.Latency.String()+" the latency of its peers")
		}
		lines = append(lines, fmt.Sprintf("ejects an endpoint for %s and longer after %s; no more than %s of them", e.Time, strings.Join(why, " or "), e.MaxShare))
	}
	if b := u.Breaker; b != nil {
		var why []string
		if b.FailureShare > 0 {
			why = append(why, b.FailureShare.String()+" of failures")
		}
		if b.SlowShare > 0 {
			why = append(why, b.SlowShare.String()+" of answers slower than "+b.SlowAfter.String())
		}
		lines = append(lines, fmt.Sprintf("breaks off (%s) for %s and longer at %s, of at least %s within %s",
			strings.Join(b.Scope, " and "), b.Open, strings.Join(why, " or "), counted(b.MinimumRequests, "request"), b.Window))
	}
	return lines
}

// protocolWords says what is spoken, where that is not HTTP/1.1.
func protocolWords(protocol string) string {
	switch protocol {
	case "h2":
		return "; speaks HTTP/2"
	case "auto":
		return "; speaks what each endpoint agrees on (ALPN)"
	}
	return ""
}

// endpointWords is an endpoint with what sets it apart.
func endpointWords(e *traffic.Endpoint) string {
	var apart []string
	if e.Weight != 1 {
		apart = append(apart, fmt.Sprintf("weight %d", e.Weight))
	}
	if e.Zone != "" {
		apart = append(apart, "zone "+e.Zone)
	}
	if e.Priority != 0 {
		apart = append(apart, fmt.Sprintf("priority %d", e.Priority))
	}
	if len(apart) == 0 {
		return e.URL.String()
	}
	return e.URL.String() + " (" + strings.Join(apart, ", ") + ")"
}

func concurrencyWords(c *traffic.Concurrency) string {
	if c == nil {
		return ""
	}
	words := fmt.Sprintf("lets %d requests wait for an answer at one time", c.Limit)
	if c.Adaptive() {
		words = fmt.Sprintf("finds from how long answers take how many requests may wait for one at one time, from %d to %d", c.Min, c.Max)
	}
	switch {
	case c.PerEndpoint > 0 && c.Limit == 0:
		words = fmt.Sprintf("lets %d requests wait for an answer of each endpoint at one time", c.PerEndpoint)
	case c.PerEndpoint > 0:
		words += fmt.Sprintf(", %d of them at each endpoint", c.PerEndpoint)
	}
	if c.Queue == 0 {
		return words + "; others are refused"
	}
	words += fmt.Sprintf("; %d more wait in a queue for up to %s", c.Queue, c.Wait)
	for i, g := range c.Groups {
		if i == 0 {
			words += ", by the priority of their consumer's group:"
		} else {
			words += ","
		}
		words += fmt.Sprintf(" %s %d", g.Key, g.Value)
	}
	return words
}

func retryWords(r *traffic.Retry) string {
	if h := r.Hedge; h != nil {
		return againWords(r) + "; asks " + counted(h.Max, "more endpoint") + " at the same time if a " + strings.Join(h.Methods, " or ") +
			" is not answered within " + h.After.String()
	}
	return againWords(r)
}

func againWords(r *traffic.Retry) string {
	if r.Attempts == 0 || len(r.On) == 0 {
		return "never sends a request again"
	}
	var unseen, seen []string
	for _, on := range r.On {
		switch on {
		case "connect_failure":
			unseen = append(unseen, "if it cannot connect")
		case "reset":
			seen = append(seen, "the connection ends")
		case "timeout":
			seen = append(seen, "the answer takes too long")
		default:
			seen = append(seen, "the answer is "+on.String())
		}
	}
	if len(seen) > 0 {
		methods := ""
		if len(r.Methods) > 0 {
			methods = " or " + strings.Join(r.Methods, " or ")
		}
		unseen = append(unseen, "if the method is idempotent"+methods+" and "+strings.Join(seen, " or "))
	}
	return "sends a request again up to " + counted(r.Attempts, "time") + " " + strings.Join(unseen, ", or ") +
		"; for " + r.Budget.String() + " of the requests at most"
}
