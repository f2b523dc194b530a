package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/compile"
	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/message"
)

// arrived is a request as the engine sees it when it looks for a route; it has a problem
// where none is looked for.
type arrived struct {
	message.Exchange
	ignored []string
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
	r.Request.Method, r.Request.Protocol = a.method, "HTTP/1.1"
	authority := r.takeURL(a.url)
	listener, err := a.chosen(result, authority)
	if err != nil {
		return nil, err
	}
	r.Client = message.Client{Listener: listener.Name, Peer: netip.AddrPortFrom(client, 0), Address: client, AddressText: client.String()}
	host, err := r.takeFields(a.fields)
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
		r.Request.Authority = clean
	}
	result.Snapshot.Arrive(&r.Exchange, r.ignore)
	return r, nil
}

// ignore notes a field that does not reach the routes.
func (r *arrived) ignore(name string, why engine.Ignored) {
	text := ""
	switch why {
	case engine.IgnoredUnderscore:
		text = "the listener drops names with an underscore"
	case engine.IgnoredSpelling:
		text = "origins take it for a field that only a proxy may set"
	case engine.IgnoredVouched:
		text = "only the gateway may say this"
	case engine.IgnoredUntrusted:
		text = "the client is not a trusted proxy of the listener"
	}
	r.ignored = append(r.ignored, name+": "+text)
}

// takeURL takes a URL apart without changing its path, and returns its authority. The
// scheme may be left out, and so may the host.
func (r *arrived) takeURL(url string) (authority string) {
	req := &r.Request
	req.Scheme = "http"
	scheme, rest, found := strings.Cut(url, "://")
	if found && !strings.ContainsAny(scheme, "/?#") {
		req.Scheme, url = message.LowerASCII(scheme), rest
	}
	url, _, _ = strings.Cut(url, "#") // A client keeps the fragment (RFC 9110 §7.1).
	url, req.Query, req.HasQuery = strings.Cut(url, "?")
	if url == "*" || strings.HasPrefix(url, "/") {
		req.RawPath = url
		return ""
	}
	authority, path, _ := strings.Cut(url, "/")
	req.RawPath = "/" + path
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

// takeFields adds the header fields and returns the value of Host.
func (r *arrived) takeFields(fields []string) (host string, err error) {
	for _, field := range fields {
		name, value, found := strings.Cut(field, ":")
		value = strings.Trim(value, " \t")
		switch {
		case !found || !message.ValidName(name):
			return "", usageError{fmt.Errorf("-H %q is not a header field: write name:value", field)}
		case message.EqualFold(name, "Host"):
			host = value
		default:
			r.Request.Header.Add(name, value)
		}
	}
	return host, nil
}

// refusal is what the gateway says where no route wins.
func (r *arrived) refusal(methods []string) *refusal {
	switch p := r.Problem(); {
	case p != nil:
		return &refusal{Status: p.Status, Code: p.Code, Detail: p.Detail}
	case len(methods) > 0:
		return &refusal{
			Status: message.MethodNotAllowed.Status, Code: message.MethodNotAllowed.Code, Allow: methods,
			Detail: "a route takes this path, but not the method " + r.Request.Method + "; Allow: " + strings.Join(methods, ", "),
		}
	}
	return &refusal{Status: message.RouteNotFound.Status, Code: message.RouteNotFound.Code, Detail: "no route matches"}
}
