package message

import "sync/atomic"

// AltSvc is what the server of a listener announces in Alt-Svc; it may change while the server
// runs. Its zero value announces nothing.
type AltSvc struct{ text atomic.Pointer[string] }

// Set changes it, for connections that come from now on.
func (a *AltSvc) Set(text string) { a.text.Store(&text) }

// Text is what it is now, or "".
func (a *AltSvc) Text() string {
	if t := a.text.Load(); t != nil {
		return *t
	}
	return ""
}
