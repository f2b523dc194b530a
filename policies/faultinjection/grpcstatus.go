package faultinjection

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-gateway/sluice/unit"
)

// GRPCStatus is a status of gRPC other than OK, which stands for its absence.
type GRPCStatus uint8

// statusNames are the names of the statuses, by number: those of the gRPC project.
var statusNames = [...]string{
	"ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
	"permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
	"internal", "unavailable", "data_loss", "unauthenticated",
}

// Form says how a status is written.
func (GRPCStatus) Form() unit.Form {
	return unit.Form{
		Name:    "gRPC status",
		Is:      "the name of a status of gRPC other than ok, such as unavailable",
		Pattern: "^(" + strings.Join(statusNames[1:], "|") + ")$",
	}
}

// UnmarshalText reads a name.
func (s *GRPCStatus) UnmarshalText(text []byte) error {
	word := string(text)
	for i, name := range statusNames {
		switch {
		case i == 0:
		case word == name:
			*s = GRPCStatus(i)
			return nil
		case word == strconv.Itoa(i) || strings.EqualFold(word, name):
			return fmt.Errorf("%q is not the name of a status of gRPC: write %s", word, name)
		}
	}
	return fmt.Errorf("%q is not %s", word, s.Form().Is)
}

// MarshalText is the name.
func (s GRPCStatus) MarshalText() ([]byte, error) { return []byte(statusNames[s]), nil }
