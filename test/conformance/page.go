package conformance

import (
	"fmt"
	"strings"
)

// Page is docs/http1-strictness.md, made of the tables.
func Page() string {
	var b strings.Builder
	b.WriteString(`# What Sluice refuses and what it understands, on HTTP/1

<!-- Generated from test/conformance by go test ./test/conformance -run Page -update; do not edit. -->

What a gateway forwards is parsed again by somebody else. Where the RFCs allow leniency, Sluice is strict: it
normalises once, matches and forwards the same bytes, and refuses what two parsers could read differently. Each line
below is a test against the real binary. After a refusal the connection is closed, except where it says otherwise.

## Requests that are refused

| Request | Rule | Answer |
|---|---|---|
`)
	for _, c := range RefusedRequests {
		note := ""
		if c.Stays {
			note = ", connection kept"
		}
		fmt.Fprintf(&b, "| %s | %s | %d%s |\n", c.Name, c.Rule, c.Status, note)
	}
	b.WriteString(`
## Requests that are odd but right

| Request | Rule | Request line at the origin |
|---|---|---|
`)
	for _, c := range AcceptedRequests {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, c.Rule, code(c.Line))
	}
	b.WriteString(`
## Answers of origins that are refused

The connection to the origin is thrown away. Where the head was right and the body is not, and the head has gone out, the
client's connection is aborted: it never sees a clean end.

| Answer | Rule | The client gets |
|---|---|---|
`)
	for _, c := range BadAnswers {
		gets := fmt.Sprint(c.Status)
		if c.Broken {
			gets = "an aborted body, or 502"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Name, c.Rule, gets)
	}
	b.WriteString(`
## Answers that cost the origin its connection

The client gets the answer; what follows it is dropped with the connection.

| Answer | Rule |
|---|---|
`)
	for _, c := range Surplus {
		fmt.Fprintf(&b, "| %s | %s |\n", c.Name, c.Rule)
	}
	b.WriteString(`
## Answers that are odd but right

| Answer | Rule |
|---|---|
`)
	for _, c := range GoodAnswers {
		fmt.Fprintf(&b, "| %s | %s |\n", c.Name, c.Rule)
	}
	return b.String()
}

// code makes a text a code span in a table's cell.
func code(s string) string {
	fence := "`"
	if strings.Contains(s, "`") {
		fence = "``"
	}
	return fence + strings.ReplaceAll(s, "|", `\|`) + fence
}
