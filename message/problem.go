package message

// Source says who is to blame for a problem.
type Source uint8

const (
	SourceClient Source = iota
	SourceUpstream
	SourceGateway
	SourcePolicy
)

func (s Source) String() string {
	switch s {
	case SourceClient:
		return "client"
	case SourceUpstream:
		return "upstream"
	case SourcePolicy:
		return "policy"
	}
	return "gateway"
}

// Retry says whether it makes sense to try again.
type Retry uint8

const (
	RetryNo Retry = iota
	RetryNewConnection
	RetryYes
)

func (r Retry) String() string {
	switch r {
	case RetryNewConnection:
		return "new_connection"
	case RetryYes:
		return "yes"
	}
	return "no"
}

// Problem is an error with an owner (RFC 9457). Code is public API: stable,
// lower_snake_case, and listed in docs/problems.md. A Problem is immutable and
// declared once; WithDetail makes a copy for one case.
type Problem struct {
	Status int
	Code   string
	Title  string // what went wrong, in general
	Detail string // what went wrong this time; may be shown to clients
	Source Source
	Retry  Retry
	// CloseConnection says that nothing behind this request may be read.
	CloseConnection bool
}

// WithDetail returns a copy that says what went wrong this time.
func (p *Problem) WithDetail(detail string) *Problem {
	c := *p
	c.Detail = detail
	return &c
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code + ": " + p.Title
	}
	return p.Code + ": " + p.Detail
}

// Is makes copies of one problem equal for errors.Is.
func (p *Problem) Is(other error) bool {
	q, ok := other.(*Problem)
	return ok && q.Code == p.Code
}
