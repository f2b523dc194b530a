package section

import "github.com/sluice-gateway/sluice/message"

// Plan says what is sent behind the head of an answer.
type Plan struct {
	Length int64 // to announce; -1 none
	Send   bool  // there is a body to be sent
}

// PlanBody follows RFC 9110 §6.4.1. Where an answer may have no body, it closes the one
// that is there and announces its length.
func PlanBody(x *message.Exchange) Plan {
	resp := &x.Response
	if message.BodyAllowed(x.Request.Method, resp.Status) {
		if resp.Body == nil { // The end of the stream says enough.
			return Plan{Length: -1}
		}
		return Plan{Length: resp.Body.Length(), Send: true}
	}
	plan := Plan{Length: resp.Length}
	if resp.Body != nil {
		plan.Length = resp.Body.Length()
		resp.CloseBody()
	}
	if resp.Status == 204 {
		plan.Length = -1
	}
	return plan
}

// BrokenBody says who is to blame for the body of an answer that did not come to its end.
func BrokenBody(err error) error {
	if p, ok := err.(*message.Problem); ok {
		return p
	}
	return message.UpstreamBodyBroken.WithDetail(err.Error())
}
