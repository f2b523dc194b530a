package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/admin"
	"github.com/sluice-gateway/sluice/internal/canary"
)

// steering says what the actions do, in the order of the help.
var steering = [...]struct {
	action canary.Action
	short  string
	done   string
}{
	{canary.Pause, "Stay at the share that the new side has; the guard goes on watching", "is paused"},
	{canary.ResumeAction, "Go on with a roll-out that is paused", "goes on"},
	{canary.Promote, "Send all requests to the new side, now", "is promoted"},
	{canary.Abort, "Send all requests to the old side, now", "is aborted"},
	{canary.RestartAction, "Begin with the first step", "begins anew"},
}

func rolloutCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rollout",
		Short: "See and steer the roll-outs of a running gateway",
		Long: `See and steer the roll-outs of a running gateway, over its admin listener.

A roll-out is named by its route; where there is only one, the name can be left
out. The listener is the one that the configuration file names with --config, or
the one at --admin.`,
		Example: "  sluice rollout list\n  sluice rollout pause orders",
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return usageError{fmt.Errorf("there is no command %q below rollout", arguments[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	client := &adminClient{}
	root.PersistentFlags().StringVar(&client.address, "admin", "", "the address of the admin listener (default "+admin.DefaultAddress+")")
	root.PersistentFlags().StringVarP(&client.config, "config", "c", "", "a configuration file that names the address")
	root.AddCommand(rolloutList(client), rolloutShow(client))
	for _, s := range steering {
		root.AddCommand(rolloutSteer(client, s.action, s.short, s.done))
	}
	return root
}

func rolloutList(client *adminClient) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the roll-outs", Args: exactly(0)}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := client.rollouts()
		if err != nil {
			return err
		}
		if *output == asJSON {
			return printJSON(c.OutOrStdout(), all)
		}
		p := newPaint(c.OutOrStdout())
		if len(all) == 0 {
			p.printf("no route has a rollout\n")
			return nil
		}
		rows := [][]string{{"ROUTE", "FROM", "TO", "STATUS", "SHARE", "STEP", "FAILED NEW", "FAILED OLD"}}
		for _, r := range all {
			rows = append(rows, []string{r.Route, r.From, r.To, statusWords(&r), share(r.Share), stepOf(&r), failedOf(r.New), failedOf(r.Old)})
		}
		for _, line := range columns(rows) {
			p.printf("%s\n", printableText(line))
		}
		return nil
	}
	return c
}

func rolloutShow(client *adminClient) *cobra.Command {
	c := &cobra.Command{Use: "show [ROUTE]", Short: "Show all about one roll-out", Args: atMost(1)}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, arguments []string) error {
		route, err := client.route(arguments)
		if err != nil {
			return err
		}
		var r admin.Rollout
		if err := client.ask(http.MethodGet, rolloutPath(route), &r); err != nil {
			return err
		}
		if *output == asJSON {
			return printJSON(c.OutOrStdout(), r)
		}
		printRollout(c.OutOrStdout(), &r)
		return nil
	}
	return c
}

func rolloutSteer(client *adminClient, action canary.Action, short, done string) *cobra.Command {
	c := &cobra.Command{Use: string(action) + " [ROUTE]", Short: short, Args: atMost(1)}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, arguments []string) error {
		route, err := client.route(arguments)
		if err != nil {
			return err
		}
		var r admin.Rollout
		if err := client.ask(http.MethodPost, rolloutPath(route)+"/"+string(action), &r); err != nil {
			return fmt.Errorf("%s: %w", route, err)
		}
		if *output == asJSON {
			return printJSON(c.OutOrStdout(), r)
		}
		p := newPaint(c.OutOrStdout())
		p.printf("%s\n", printableText(fmt.Sprintf("%s %s: %s of the requests go to %s", r.Route, done, share(r.Share), r.To)))
		return nil
	}
	return c
}

// route is the one that is named, or the only one.
func (a *adminClient) route(arguments []string) (string, error) {
	if len(arguments) == 1 {
		return arguments[0], nil
	}
	all, err := a.rollouts()
	if err != nil {
		return "", err
	}
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.Route
	}
	switch len(names) {
	case 0:
		return "", errors.New("no route has a rollout")
	case 1:
		return names[0], nil
	}
	return "", usageError{fmt.Errorf("name one of the routes that have a rollout: %s", strings.Join(names, ", "))}
}

func (a *adminClient) rollouts() ([]admin.Rollout, error) {
	var list struct {
		Rollouts []admin.Rollout `json:"rollouts"`
	}
	err := a.ask(http.MethodGet, "/rollouts", &list)
	return list.Rollouts, err
}

func printRollout(w io.Writer, r *admin.Rollout) {
	p := newPaint(w)
	p.labelled("route", r.Route)
	p.labelled("from", r.From)
	p.labelled("to", r.To)
	status := statusWords(r)
	if !r.Since.IsZero() {
		status += " since " + r.Since.Format(time.RFC3339)
	}
	lines := []string{status}
	for _, more := range []string{r.Reason, r.Waiting} {
		if more != "" {
			lines = append(lines, more)
		}
	}
	if !r.Decides {
		lines = append(lines, "another process decides; this one does the same")
	}
	p.labelled("status", lines...)
	p.labelled("share", share(r.Share)+" of the requests go to "+r.To)
	if r.Status == string(canary.Running) || r.Status == string(canary.Paused) {
		p.labelled("step", fmt.Sprintf("%s (%s), %s of %s", stepOf(r), stepList(r.Steps), seconds(r.ElapsedSeconds), seconds(r.EverySeconds)))
		p.labelled("new side", sideWords(r.New))
		p.labelled("old side", sideWords(r.Old))
	}
}

func statusWords(r *admin.Rollout) string { return canary.Status(r.Status).Words() }

func stepOf(r *admin.Rollout) string { return fmt.Sprintf("%d of %d", r.Step, len(r.Steps)) }

func stepList(steps []float64) string {
	words := make([]string, len(steps))
	for i, s := range steps {
		words[i] = share(s)
	}
	return strings.Join(words, ", ")
}

func share(fraction float64) string {
	return canary.Percent(int32(fraction*float64(canary.Whole) + 0.5))
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second / 10).String()
}

func failedOf(s admin.RolloutSide) string {
	if s.Requests == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", s.Failed, s.Requests)
}

func sideWords(s admin.RolloutSide) string {
	if s.Requests == 0 {
		return "no requests lately"
	}
	return fmt.Sprintf("%s failed lately, p99 %s", failedOf(s), time.Duration(s.P99Seconds*float64(time.Second)).Round(10*time.Microsecond))
}
