package traffic

import (
	"fmt"
	"strconv"

	"github.com/sluice-gateway/sluice/unit"
)

// Retry says when and how often a request is sent again.
type Retry struct {
	Attempts int                `default:"1" min:"0" max:"10" doc:"How often a request is sent again at most; 0: never."`
	On       unit.List[RetryOn] `default:"[connect_failure]" doc:"What makes a request be sent again: connect_failure, or a status in quotes, such as \"503\"."`
}

// RetryOn is what makes a request be sent again: connect_failure, or a status.
type RetryOn struct {
	ConnectFailure bool `yaml:"-"`
	Status         int  `yaml:"-"`
}

// Form says how it is written.
func (RetryOn) Form() unit.Form {
	return unit.Form{
		Name:    "condition",
		Is:      `connect_failure or a status from "500" to "599", in quotes`,
		Pattern: `^(connect_failure|5[0-9][0-9])$`,
	}
}

// UnmarshalText reads it.
func (r *RetryOn) UnmarshalText(text []byte) error {
	word := string(text)
	if word == "connect_failure" {
		r.ConnectFailure = true
		return nil
	}
	status, err := strconv.Atoi(word)
	if err != nil || len(word) != 3 || status < 500 || status > 599 {
		return fmt.Errorf("%q is not %s", word, r.Form().Is)
	}
	r.Status = status
	return nil
}
