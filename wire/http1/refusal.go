package http1

import (
	"strconv"

	"github.com/sluice-gateway/sluice/message"
)

// Refusal is a complete answer for a connection that is turned away before
// anything was read from it.
func Refusal(p *message.Problem) string {
	body := `{"title":"` + p.Title + `","status":` + strconv.Itoa(p.Status) + `,"code":"` + p.Code + `"}` + "\n"
	out := appendStatusLine(nil, p.Status)
	out = appendField(out, "Content-Type", "application/problem+json")
	out = appendField(out, "Content-Length", strconv.Itoa(len(body)))
	out = appendField(out, "Retry-After", "1")
	out = appendField(out, "Connection", "close")
	return string(out) + "\r\n" + body
}
