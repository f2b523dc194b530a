package http1

import "time"

// Limits bound what one client connection may cost. The zero value of a field
// means its default, except where it says otherwise.
type Limits struct {
	RequestLine     int   // bytes, answer 414; default 8 KiB
	HeaderBytes     int   // bytes of the whole head, answer 431; default 32 KiB
	HeaderFields    int   // number of fields, answer 431; default 100
	TrailerBytes    int   // bytes of a trailer section; default 8 KiB
	ChunkExtension  int   // bytes behind one chunk size; default 256
	Requests        int   // requests per connection; 0 is no limit
	MinimumBodyRate int64 // bytes a second, after a grace of BodyTimeout/2; 0 is no limit

	HeadTimeout  time.Duration // from the first byte of a head to its last; default 10s
	IdleTimeout  time.Duration // between requests; default 60s
	BodyTimeout  time.Duration // longest silence within a request body; default 30s
	WriteTimeout time.Duration // longest time a client may take to read what was written; default 30s
}

// UnreadBody is how much of a body that nobody wanted is read and dropped to save
// a connection; what is longer costs the connection.
const UnreadBody = 64 << 10

func (l Limits) withDefaults() Limits {
	setDefault(&l.RequestLine, 8<<10)
	setDefault(&l.HeaderBytes, 32<<10)
	setDefault(&l.HeaderFields, 100)
	setDefault(&l.TrailerBytes, 8<<10)
	setDefault(&l.ChunkExtension, 256)
	setDefault(&l.HeadTimeout, 10*time.Second)
	setDefault(&l.IdleTimeout, 60*time.Second)
	setDefault(&l.BodyTimeout, 30*time.Second)
	setDefault(&l.WriteTimeout, 30*time.Second)
	return l
}

// ClientLimits bound what one origin connection may cost.
type ClientLimits struct {
	HeaderBytes    int // bytes of an answer's head; default 64 KiB
	HeaderFields   int // number of fields; default 200
	TrailerBytes   int // default 8 KiB
	ChunkExtension int // default 256

	ResponseTimeout time.Duration // longest wait for the head of the answer; default 15s
	BodyTimeout     time.Duration // longest silence within a body, either way; default 5m
}

func (l ClientLimits) withDefaults() ClientLimits {
	setDefault(&l.HeaderBytes, 64<<10)
	setDefault(&l.HeaderFields, 200)
	setDefault(&l.TrailerBytes, 8<<10)
	setDefault(&l.ChunkExtension, 256)
	setDefault(&l.ResponseTimeout, 15*time.Second)
	setDefault(&l.BodyTimeout, 5*time.Minute)
	return l
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}
