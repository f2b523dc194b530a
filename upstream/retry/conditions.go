package retry

import (
	"fmt"
	"strconv"
	"strings"
)

// Outcome is what became of a try.
type Outcome uint8

const (
	Answered       Outcome = iota // an answer with a status; it may be one that is not wanted
	ConnectFailure                // no connection could be had
	Reset                         // the connection ended before the head of an answer
	Timeout                       // the try's own time was over
)

// Conditions are the outcomes after which a further try is wanted: the compiled
// form of an upstream's list. The zero value wants none. It is not changed after
// Compile, and comparable.
type Conditions struct {
	outcomes uint8      // a bit for each Outcome
	statuses [10]uint64 // a bit for each status below 640
	grpc     uint32     // a bit for each gRPC status
}

// grpcNames are the statuses of gRPC, by number.
var grpcNames = [...]string{
	"ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
	"permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range",
	"unimplemented", "internal", "unavailable", "data_loss", "unauthenticated",
}

// NoGRPC stands for the gRPC status of what is not gRPC, or has no status yet.
const NoGRPC = -1

// Compile reads a list of conditions: connect_failure, reset, timeout, a status from
// 400 to 599 such as 503, a class of them such as 5xx, or a gRPC status such as
// grpc:unavailable. The error names the entry that is none.
func Compile(list []string) (Conditions, error) {
	var c Conditions
	for _, entry := range list {
		if err := c.add(entry); err != nil {
			return Conditions{}, err
		}
	}
	return c, nil
}

func (c *Conditions) add(entry string) error {
	switch entry {
	case "connect_failure":
		c.outcomes |= 1 << ConnectFailure
		return nil
	case "reset":
		c.outcomes |= 1 << Reset
		return nil
	case "timeout":
		c.outcomes |= 1 << Timeout
		return nil
	case "4xx", "5xx":
		from := int(entry[0]-'0') * 100
		for status := from; status < from+100; status++ {
			c.addStatus(status)
		}
		return nil
	}
	if name, ok := strings.CutPrefix(entry, "grpc:"); ok {
		return c.addGRPC(name)
	}
	status, err := strconv.Atoi(entry)
	if err != nil || status < 400 || status > 599 {
		return fmt.Errorf("retry: %q is no condition; there are connect_failure, reset, timeout, a status from 400 to 599, 4xx, 5xx, and gRPC statuses such as grpc:unavailable", entry)
	}
	c.addStatus(status)
	return nil
}

func (c *Conditions) addStatus(status int) { c.statuses[status/64] |= 1 << (status % 64) }

func (c *Conditions) addGRPC(name string) error {
	for number, known := range grpcNames {
		if name == known && number > 0 {
			c.grpc |= 1 << number
			return nil
		}
	}
	return fmt.Errorf("retry: gRPC has no failure %q; there are %s", name, strings.Join(grpcNames[1:], ", "))
}

// Empty says that there is nothing after which a further try is wanted.
func (c *Conditions) Empty() bool { return *c == Conditions{} }

// AfterSent says that a further try may be wanted after the request was sent.
func (c *Conditions) AfterSent() bool {
	return !c.Empty() && *c != Conditions{outcomes: 1 << ConnectFailure}
}

// HasGRPC says that some gRPC status is a condition, so that trailers are worth a look.
func (c *Conditions) HasGRPC() bool { return c.grpc != 0 }

// Status says whether an answer's status is a condition.
func (c *Conditions) Status(status int) bool {
	return uint(status) < uint(64*len(c.statuses)) && c.statuses[status/64]&(1<<(status%64)) != 0
}

// GRPC says whether a gRPC status is a condition.
func (c *Conditions) GRPC(status int) bool {
	return uint(status) < 32 && c.grpc&(1<<status) != 0
}

// Try is what is known of a try that is over.
type Try struct {
	Outcome Outcome
	Status  int // of an answer
	GRPC    int // of an answer; NoGRPC where there is none

	// Sent: the origin may have seen something of the request. It is false where a
	// connection died before the first byte, and where HTTP/2 says that the stream
	// was not processed (REFUSED_STREAM, or above the last stream of a GOAWAY).
	Sent bool
	// Began: a byte of an answer came before the failure.
	Began bool
	// Committed: a byte of an answer went to the client.
	Committed bool
	// Repeatable: to do it twice is as good as once: the method is idempotent (RFC
	// 9110 §9.2.2), or somebody has vouched for it.
	Repeatable bool
	// Whole: the request can be sent again from its first byte: its body is in
	// memory, or there is none, or nothing of it was taken.
	Whole bool
}

// Wants says whether a further try is wanted and safe. What was processed is sent
// again only if it is repeatable, with one exception: a gRPC status that the list
// names. All calls of gRPC are POST, and who names a status knows what it means
// for the service.
func (c *Conditions) Wants(t *Try) bool {
	if t.Committed || !t.Whole {
		return false
	}
	if t.Outcome != Answered {
		if c.outcomes&(1<<t.Outcome) == 0 {
			return false
		}
		return !t.Sent || t.Repeatable && !t.Began
	}
	if t.GRPC != NoGRPC && c.GRPC(t.GRPC) {
		return true
	}
	return c.Status(t.Status) && t.Repeatable
}
