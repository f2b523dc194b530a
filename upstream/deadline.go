package upstream

import (
	"context"
	"time"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/wire/http1"
)

// patience bounds a wait: by longest, and by the deadline of the exchange.
func patience(x *message.Exchange, longest time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), x.Patience(longest))
}

// waitedInVain is the failure of a wait that has ended without success: the client is gone, its
// time is over, or otherwise.
func waitedInVain(x *message.Exchange, otherwise *message.Problem) *http1.Failure {
	switch {
	case x.Wire().Gone():
		return &http1.Failure{Problem: message.ClientGone}
	case x.Expired():
		return &http1.Failure{Problem: message.DeadlineExceeded}
	}
	return &http1.Failure{Problem: otherwise}
}
