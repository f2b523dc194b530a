// Package message is the one form in which requests and answers travel through
// the gateway, whatever wire they came over.
//
// An Exchange is owned by one goroutine, the one that serves it, and is reused
// for the next one: nobody may keep a pointer to it or to its parts. Strings may
// be kept.
package message

import (
	"net/netip"
	"sync"
	"time"
)

// Exchange is one request and its answer.
type Exchange struct {
	Request  Request
	Response Response
	Client   Client
	Facts    Facts
	Times    Times

	// Deadline is when whoever works for the exchange stops: waits for an origin, the head of
	// its answer and its body end then with DeadlineExceeded. The zero value is none. It holds
	// for what begins to wait after it was set; a tunnel has none.
	Deadline time.Time
	// ClientDeadline is the part of it that the client itself has asked for with a field that
	// the configuration names: it goes on when a target sets a deadline of its own.
	ClientDeadline time.Time

	// Shard spreads counters over cores: see internal/meter. Set once by the wire for
	// a connection.
	Shard uint32

	whole   time.Time // the deadline behind that of a try
	limited bool      // Deadline is that of a try

	wire    Wire
	problem *Problem
	fault   error
	rooms   []room
	rest    Finisher
	leaver  Leaver
}

// Handler is all that a wire knows of the gateway.
type Handler interface{ Serve(x *Exchange) }

// Finisher is what a Handler has still to do when a tunnel has ended.
type Finisher interface{ Finish() }

// Leaver is a tunnel that can be told to end. Leave does not wait and may be called at any time.
type Leaver interface{ Leave() }

// SetLeaver is called by the wire when the exchange has become a tunnel; Leaver returns that.
func (x *Exchange) SetLeaver(l Leaver) { x.leaver = l }

// Leaver is nil where there is no tunnel.
func (x *Exchange) Leaver() Leaver { return x.leaver }

// Postpone is called by the handler before it returns from an exchange that has become a tunnel.
func (x *Exchange) Postpone(rest Finisher) { x.rest = rest }

// Finish is called by the wire when the tunnel has ended, by the goroutine that owns the exchange then.
func (x *Exchange) Finish() {
	if rest := x.rest; rest != nil {
		x.rest = nil
		rest.Finish()
	}
}

// Wire is what the gateway knows of the connection that carries an exchange.
// Its methods are called on the goroutine that owns the exchange.
type Wire interface {
	// Respond writes x.Response, streaming its body to its end, and closes the
	// body. The result tells who failed: a *Problem whose Source is client or
	// upstream. Nothing was written yet if Started says so; then another answer can
	// be sent in its place.
	//
	// Of a tunnel it sends the head only. The connections are joined when the handler has
	// returned, so that a tunnel does not keep what deciding about it has needed; at
	// its end the wire calls x.Finish.
	Respond(x *Exchange) error
	// Started says whether the answer's head, or a part of it, was written.
	Started() bool
	// Abort ends the connection behind this exchange, whatever was answered.
	Abort()
	// Inform sends an interim answer (103, 102); what cannot be sent is dropped.
	Inform(status int, header *Header)
	// Await says that the goroutine is about to wait for c, and that c is to be
	// cancelled if the client goes away meanwhile: at once if it has gone before, because
	// what was awaited then may have come in the same moment. Arrived ends that; after
	// it has returned c is not touched any more.
	Await(c Canceler)
	Arrived()
	// LendBody says that another goroutine is going to read the request's body
	// until ReturnBody; a client that waits for 100 gets it now. StopBody makes the
	// borrower's Next fail; it may be called while Next is waiting.
	LendBody()
	StopBody()
	ReturnBody()
	// Gone says whether the client was seen to be gone.
	Gone() bool
	// BytesIn and BytesOut count what went over the wire for this exchange,
	// heads included.
	BytesIn() int64
	BytesOut() int64
}

// Canceler is something that waits and can be told to stop waiting. Cancel is
// called on another goroutine.
type Canceler interface{ Cancel() }

// Client is who is at the other end.
type Client struct {
	// Peer is the address of the connection, or of the one that the PROXY protocol told
	// of: whether its X-Forwarded-* fields are believed depends on it. Address is the
	// client's, after trusted proxies.
	Peer    netip.AddrPort
	Address netip.Addr
	// AddressText is Address in text form.
	AddressText string
	// Local is the address that the client connected to.
	Local netip.AddrPort
	// Listener is the name of the listener.
	Listener string
	// TLS is what is known of the connection's TLS, or nil where it has none.
	TLS *TLS
	// AltSvc is what answers say of HTTP/3 at the same listener (RFC 7838 §3), or "".
	AltSvc string
}

// Times are the moments of an exchange. Started is read once, when the head is
// complete; the others are offsets from it, 0 where there was no such moment.
type Times struct {
	Started time.Time
	// Connected is how long getting a connection to the origin took; FirstByte
	// when the answer's head was there; Done when the last byte was written.
	Connected time.Duration
	FirstByte time.Duration
	Done      time.Duration
	// Waited says that the exchange was held back since it started: until its turn, for its body, by a
	// target that has failed. What begins then does not begin with it. Who waits sets it.
	Waited bool
}

// epoch makes Now monotonic: it never jumps with the wall clock.
var epoch = time.Now()

// Now is the moment at which the exchange started, in nanoseconds on a clock that
// never goes back. It costs nothing: hooks use it in place of reading the clock.
func (x *Exchange) Now() int64 { return int64(x.Times.Started.Sub(epoch)) }

// Clock reads the clock of Now. It is for what happens outside exchanges, or long after
// one has started.
func Clock() int64 { return int64(time.Since(epoch)) }

// Moment is Now for what begins after others may have waited: it reads the clock only where they have.
func (x *Exchange) Moment() int64 {
	if x.Times.Waited {
		return Clock()
	}
	return x.Now()
}

// Expired says whether the deadline is over. Without one it does not look at the clock.
func (x *Exchange) Expired() bool { return !x.Deadline.IsZero() && time.Until(x.Deadline) <= 0 }

// Patience is how long may be waited where longest is allowed: no longer than the deadline.
// It is 0 or less when that is over.
func (x *Exchange) Patience(longest time.Duration) time.Duration {
	if x.Deadline.IsZero() {
		return longest
	}
	return min(longest, time.Until(x.Deadline))
}

// LimitTry makes by the deadline, if it is sooner, until an answer has begun: its body has the time that
// there was before. EndTry ends that, when the head of the answer is there, or is not.
func (x *Exchange) LimitTry(by time.Time) {
	if x.Deadline.IsZero() || by.Before(x.Deadline) {
		x.whole, x.limited, x.Deadline = x.Deadline, true, by
	}
}

// EndTry is the end of what LimitTry began.
func (x *Exchange) EndTry() {
	if x.limited {
		x.Deadline, x.limited = x.whole, false
	}
}

// BodyDeadline is the deadline that a wire keeps for the body of an answer, and whether it is another
// one than for the head.
func (x *Exchange) BodyDeadline() (by time.Time, other bool) {
	if x.limited {
		return x.whole, true
	}
	return x.Deadline, false
}

// Deny refuses the exchange: the client's fault, or a rule's. Header fields that
// are already in x.Response stay and are sent with the problem.
func (x *Exchange) Deny(p *Problem) Verdict {
	x.problem = p
	return Reply
}

// Fault says that a policy could not decide; its on_fault setting decides.
func (x *Exchange) Fault(err error) Verdict {
	x.fault = err
	return Faulted
}

// Problem is why the exchange was refused or failed, or nil.
func (x *Exchange) Problem() *Problem { return x.problem }

// ClearProblem is called by the engine once the problem has become an answer that
// somebody replaced.
func (x *Exchange) ClearProblem() { x.problem = nil }

// TakeFault returns and forgets the error of the last Fault.
func (x *Exchange) TakeFault() error {
	err := x.fault
	x.fault = nil
	return err
}

// Wire is the connection that carries the exchange.
func (x *Exchange) Wire() Wire { return x.wire }

// Begin is called by a wire before it fills the exchange.
func (x *Exchange) Begin(w Wire) { x.wire = w }

// Reset makes the exchange ready for the next one and keeps its room.
func (x *Exchange) Reset() {
	x.Request.Reset()
	x.Response.Reset()
	x.Client = Client{}
	x.Facts.reset()
	x.Times, x.Deadline, x.ClientDeadline = Times{}, time.Time{}, time.Time{}
	x.wire, x.problem, x.fault, x.rest, x.leaver = nil, nil, nil, nil, nil
	x.limited = false
	x.emptyRooms()
}

// room is one policy's place in an exchange: see policy.Local.
type room struct {
	value any
	home  *sync.Pool
}

// Room returns what stands in a place, or nil.
func (x *Exchange) Room(place int) any {
	if place < len(x.rooms) {
		return x.rooms[place].value
	}
	return nil
}

// SetRoom puts a value into a place; it goes back to home when the exchange ends.
func (x *Exchange) SetRoom(place int, value any, home *sync.Pool) {
	for len(x.rooms) <= place {
		x.rooms = append(x.rooms, room{})
	}
	x.rooms[place] = room{value, home}
}

func (x *Exchange) emptyRooms() {
	for i := range x.rooms {
		if r := &x.rooms[i]; r.value != nil {
			r.home.Put(r.value)
			*r = room{}
		}
	}
	x.rooms = x.rooms[:0]
}
