package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/config"
)

// asked is what explain is asked about.
type asked struct {
	method, url string
	fields      []string // "name: value"
	listener    string
	client      string
	config      string
}

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain METHOD URL",
		Short: "Tell where a request would go, and why",
		Long: `Tell where a request would go, and why: the route that wins, those that nearly
did, the policies in the order in which they run, and the target.

Nothing is sent and no policy runs. The exit code is 1 where no route wins.`,
		Example: `  sluice explain GET http://api.example.com/orders/7
  sluice explain POST /orders -H 'Host: api.example.com' -H 'X-Tier: gold'`,
		Args: exactly(2),
	}
	var a asked
	c.Flags().StringArrayVarP(&a.fields, "header", "H", nil, "a header field of the request, as name:value; may be repeated")
	c.Flags().StringVarP(&a.listener, "listener", "l", "", "the listener by which the request comes in; the one with the port of the URL, else the first")
	c.Flags().StringVar(&a.client, "client", "127.0.0.1", "the address from which the request comes")
	path := configFlag(c)
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, arguments []string) error {
		a.method, a.url, a.config = arguments[0], arguments[1], *path
		return explain(c, &a, *output)
	}
	return c
}

func explain(c *cobra.Command, a *asked, output format) error {
	result, err := checked(a.config)
	if err != nil {
		return unreadable(c, err)
	}
	request, err := a.request(result)
	if err != nil {
		return err
	}
	e := explained(result, request)
	if output == asJSON {
		if err := printJSON(c.OutOrStdout(), e); err != nil {
			return err
		}
	} else {
		e.print(newPaint(c.OutOrStdout()))
	}
	if e.Route == nil {
		return errProblems
	}
	return nil
}

// explanation is the answer of explain.
type explanation struct {
	Method    string   `json:"method"`
	Authority string   `json:"authority"`
	Path      string   `json:"path"` // normalised
	Query     string   `json:"query,omitempty"`
	Listener  string   `json:"listener"`
	Ignored   []string `json:"ignored,omitempty"` // fields of the request, and why

	Route      *place          `json:"route,omitempty"`
	Why        []string        `json:"why,omitempty"`
	Parameters []parameter     `json:"parameters,omitempty"`
	Problem    *refusal        `json:"problem,omitempty"`
	Policies   []policyInPlace `json:"policies,omitempty"`
	Target     *targetInPlace  `json:"target,omitempty"`
	Upgrades   []string        `json:"upgrades,omitempty"`
	Priority   *int            `json:"priority,omitempty"` // where it is not the usual one
	Near       []near          `json:"near_misses,omitempty"`
}

type place struct {
	Name string          `json:"name"`
	At   config.Position `json:"at"`
}

func (p place) String() string { return fmt.Sprintf("%s (%s:%d)", p.Name, p.At.File, p.At.Line) }

type parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// refusal is the answer to a request that no route takes.
type refusal struct {
	Status int      `json:"status"`
	Code   string   `json:"code"`
	Detail string   `json:"detail"`
	Allow  []string `json:"allow,omitempty"`
}

// policyInPlace is a policy where it runs.
type policyInPlace struct {
	Name     string          `json:"name"`
	Stage    string          `json:"stage"`
	From     string          `json:"from"` // all routes, or route
	OnFault  string          `json:"on_fault"`
	At       config.Position `json:"at"`
	Settings []shownSetting  `json:"settings,omitempty"`
}

// shownSetting is a setting with its default or as it was written; no secret.
type shownSetting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type targetInPlace struct {
	Kind      string            `json:"kind"`
	Settings  []shownSetting    `json:"settings,omitempty"`
	Words     []string          `json:"words,omitempty"`
	Upstreams []upstreamInPlace `json:"upstreams,omitempty"`
}

type upstreamInPlace struct {
	place
	Protocol    string   `json:"protocol,omitempty"`
	Balance     string   `json:"balance,omitempty"`
	Endpoints   []string `json:"endpoints"`
	Discovery   string   `json:"discovery,omitempty"`
	Members     []string `json:"members,omitempty"` // level by level, instead of all but the timeouts
	TLS         string   `json:"tls,omitempty"`
	Preferences []string `json:"preferences,omitempty"`
	Timeouts    string   `json:"timeouts,omitempty"`
	Connections string   `json:"connections,omitempty"`
	Retry       string   `json:"retry,omitempty"`
	Health      []string `json:"health,omitempty"`
	Concurrency string   `json:"concurrency,omitempty"`
}

type near struct {
	place
	Matches bool   `json:"matches"`
	Reason  string `json:"reason"`
}

func (e *explanation) print(p *paint) {
	target := e.Path
	if e.Query != "" {
		target += "?" + e.Query
	}
	p.labelled("request", e.Method+" "+e.Authority+target+" at listener "+e.Listener)
	p.labelled("ignored", e.Ignored...)
	if e.Route == nil {
		line := p.red(fmt.Sprintf("%d %s", e.Problem.Status, e.Problem.Code)) + ": " + e.Problem.Detail
		p.labelled("answer", line)
	} else {
		p.labelled("route", p.green(e.Route.Name)+fmt.Sprintf(" (%s:%d)", e.Route.At.File, e.Route.At.Line))
	}
	p.labelled("why", e.Why...)
	for i, param := range e.Parameters {
		label := ""
		if i == 0 {
			label = "parameters"
		}
		p.labelled(label, param.Name+" = "+param.Value)
	}
	p.labelled("policies", e.policyLines()...)
	e.printTarget(p)
	if len(e.Near) > 0 {
		p.printf("\n%s\n", p.bold("near misses"))
	}
	for _, n := range e.Near {
		p.printf("  %s\n      %s\n", n.place, printableText(n.Reason))
	}
}

func (e *explanation) policyLines() []string {
	rows := make([][]string, len(e.Policies))
	for i, l := range e.Policies {
		rows[i] = []string{l.Name, "stage " + l.Stage, "of " + l.From, "on fault " + l.OnFault, fmt.Sprintf("%s:%d", l.At.File, l.At.Line)}
	}
	return columns(rows)
}

func (e *explanation) printTarget(p *paint) {
	if e.Target == nil {
		return
	}
	head := e.Target.Kind
	var lines []string
	for _, s := range e.Target.Settings {
		if s.Name == "" {
			head += " " + s.Value
			continue
		}
		lines = append(lines, s.Name+": "+s.Value)
	}
	p.labelled("target", append([]string{head}, append(lines, e.Target.Words...)...)...)
	if e.Priority != nil {
		p.labelled("priority", fmt.Sprintf("%d, in the queues of upstreams", *e.Priority))
	}
	if len(e.Upgrades) > 0 {
		p.labelled("upgrades", strings.Join(e.Upgrades, ", "))
	}
	for _, u := range e.Target.Upstreams {
		if len(u.Members) > 0 {
			lines := append([]string{u.place.String()}, u.Members...)
			if u.Timeouts != "" {
				lines = append(lines, u.Timeouts)
			}
			p.labelled("upstream", lines...)
			continue
		}
		over := strings.Join(u.Endpoints, ", ")
		if u.Discovery != "" {
			over = "the endpoints that are discovered: " + u.Discovery
		}
		lines := []string{u.place.String(), u.Balance + " over " + over + protocolWords(u.Protocol), u.TLS}
		lines = append(lines, u.Preferences...)
		lines = append(lines, u.Timeouts, u.Connections, u.Retry)
		lines = append(append(lines, u.Health...), u.Concurrency)
		p.labelled("upstream", slices.DeleteFunc(lines, func(line string) bool { return line == "" })...)
	}
}

var errNoListener = errors.New("the configuration has no listener")

// clientAddress reads --client.
func clientAddress(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return netip.Addr{}, usageError{fmt.Errorf("--client: %q is not an IP address", text)}
	}
	return address.Unmap(), nil
}
