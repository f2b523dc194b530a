package message

// Verdict is what a hook tells the engine to do next.
type Verdict uint8

const (
	// Next carries on with the following policy, and at last with the target.
	Next Verdict = iota
	// Reply says that x.Response is complete: the target is not called, and the
	// response hooks of the policies that have run still see the answer.
	Reply
	// Abort closes the connection without an answer.
	Abort
	// Faulted says that the hook could not decide (Exchange.Fault); what happens
	// then is the policy's on_fault setting.
	Faulted
)
