package policytest

import "github.com/sluice-gateway/sluice/message"

// held is a call that goes on while others are made: its origin was asked, and answers when it is
// told to.
type held struct {
	call    *call
	release chan struct{}
	answer  chan *Answer
}

// hold begins a call and returns when the origin was asked, or a policy has answered.
func (g *Gateway) hold(c *call, x *message.Exchange) *held {
	h := &held{call: c, release: make(chan struct{}), answer: make(chan *Answer, 1)}
	asked := make(chan struct{})
	g.Origin = func(x *message.Exchange) error {
		close(asked)
		<-h.release
		return c.origin.serve(x)
	}
	go func() { h.answer <- g.Serve(x) }()
	select {
	case <-asked:
	case a := <-h.answer:
		h.answer <- a
	}
	return h
}

// end lets the origin answer, and compares.
func (h *held) end() error {
	close(h.release)
	return h.call.check(<-h.answer)
}
