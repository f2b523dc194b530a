package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/route"
)

// arrived is a request as the engine sees it when it looks for a route.
type arrived struct {
	message.Request
	listener string
	ignored  []string
	refused  error // why the path is not one, or nil
}

// request makes the request that is asked about; what is wrong with the command line
// is a usageError.
func (a *asked) request(result *compile.Result) (*arrived, error) {
	r := &arrived{}
	if !message.ValidName(a.method) {
		return nil, usageError{fmt.Errorf("%q is not a method", a.method)}
	}
	client, err := clientAddress(a.client)
	if err != nil {
		return nil, err
	}
	r.Method, r.Protocol = a.method, "HTTP/1.1"
	authority := r.takeURL(a.url)
	listener, err := a.chosen(result, authority)
	if err != nil {
		return nil, err
	}
	r.listener = listener.Name
	host, err := r.takeFields(a.fields, result.Snapshot, listener, client)
	if err != nil {
		return nil, err
	}
	if authority == "" {
		authority = host
	}
	if authority != "" {
		clean, ok := message.ParseAuthority(authority)
		if !ok {
			return nil, usageError{fmt.Errorf("%q is not a host: the gateway answers 400", authority)}
		}
		r.Authority = clean
	}
	r.vouch(client)
	if r.RawPath == "*" {
		r.Path = "*"
		return r, nil
	}
	r.Path, r.refused = route.Normalize(r.RawPath, listener.Normalize)
	return r, nil
}

// takeURL takes a URL apart without changing its path, and returns its authority. The
// scheme may be left out, and so may the host.
func (r *arrived) takeURL(url string) (authority string) {
	r.Scheme = "http"
	scheme, rest, found := strings.Cut(url, "://")
	if found && !strings.ContainsAny(scheme, "/?#") {
		r.Scheme, url = message.LowerASCII(scheme), rest
	}
	url, _, _ = strings.Cut(url, "#") // A client keeps the fragment (RFC 9110 §7.1).
	url, r.Query, r.HasQuery = strings.Cut(url, "?")
	if url == "*" || strings.HasPrefix(url, "/") {
		r.RawPath = url
		return ""
	}
	authority, path, _ := strings.Cut(url, "/")
	r.RawPath = "/" + path
	return authority
}

// chosen is the listener that was named, else the one with the port of the URL, else
// the first.
func (a *asked) chosen(result *compile.Result, authority string) (*engine.Listener, error) {
	all := result.Snapshot.Listeners
	if len(all) == 0 {
		return nil, errNoListener
	}
	var names []string
	for i := range all {
		if all[i].Name == a.listener {
			return &all[i], nil
		}
		names = append(names, all[i].Name)
	}
	if a.listener != "" {
		return nil, fmt.Errorf("there is no listener %q%s", a.listener, config.Meant(a.listener, names, "listeners"))
	}
	port := "80"
	if at := strings.LastIndexByte(authority, ':'); at >= 0 {
		port = authority[at+1:]
	}
	for i, item := range result.Document.Listeners {
		if strconv.Itoa(int(item.Value.Address.Port)) == port {
			return &all[i], nil
		}
	}
	return &all[0], nil
}

// takeFields adds the header fields, apart from those that the engine drops; it
// returns the value of Host.
func (r *arrived) takeFields(fields []string, s *engine.Snapshot, l *engine.Listener, client netip.Addr) (host string, err error) {
	trusted := false
	for _, network := range l.TrustedProxies {
		trusted = trusted || network.Contains(client)
	}
	for _, field := range fields {
		name, value, found := strings.Cut(field, ":")
		value = strings.Trim(value, " \t")
		switch {
		case !found || !message.ValidName(name):
			return "", usageError{fmt.Errorf("-H %q is not a header field: write name:value", field)}
		case message.EqualFold(name, "Host"):
			host = value
		default:
			if why := dropped(name, s, l, trusted); why != "" {
				r.ignored = append(r.ignored, name+": "+why)
				continue
			}
			r.Header.Add(name, value)
		}
	}
	return host, nil
}

// dropped says why a field does not reach the routes, or "".
func dropped(name string, s *engine.Snapshot, l *engine.Listener, trusted bool) string {
	if !l.KeepUnderscores && strings.Contains(name, "_") {
		return "the listener drops names with an underscore"
	}
	plain := strings.ReplaceAll(name, "_", "-")
	for _, vouched := range append([]string{message.ConsumerNameHeader, message.ConsumerGroupsHeader}, s.Vouched...) {
		if message.EqualFold(plain, strings.ReplaceAll(vouched, "_", "-")) {
			return "only the gateway may say this"
		}
	}
	lower := message.LowerASCII(name)
	if !trusted && (strings.HasPrefix(lower, "x-forwarded-") || lower == "forwarded" || lower == "x-real-ip") {
		return "the client is not a trusted proxy of the listener"
	}
	return ""
}

// vouch adds what the engine says about the client before it looks for a route.
func (r *arrived) vouch(client netip.Addr) {
	chain := client.String()
	if before := r.Header.Joined("X-Forwarded-For"); before != "" {
		chain = before + ", " + chain
	}
	r.Header.Set("X-Forwarded-For", chain)
	if proto := r.Header.Get("X-Forwarded-Proto"); proto != "http" && proto != "https" {
		r.Header.Set("X-Forwarded-Proto", r.Scheme)
	}
	if !r.Header.Has("X-Forwarded-Host") && r.Authority != "" {
		r.Header.Add("X-Forwarded-Host", r.Authority)
	}
}

// answer is what the gateway says where no route wins.
func (r *arrived) answer(methods []string) *refusal {
	switch {
	case r.refused != nil:
		var path route.PathError
		detail := r.refused.Error()
		if errors.As(r.refused, &path) {
			detail = path.Error()
		}
		return &refusal{Status: message.BadPath.Status, Code: message.BadPath.Code, Detail: detail}
	case len(methods) > 0:
		return &refusal{
			Status: message.MethodNotAllowed.Status, Code: message.MethodNotAllowed.Code, Allow: methods,
			Detail: "a route takes this path, but not the method " + r.Method + "; Allow: " + strings.Join(methods, ", "),
		}
	}
	return &refusal{Status: message.RouteNotFound.Status, Code: message.RouteNotFound.Code, Detail: "no route matches"}
}
