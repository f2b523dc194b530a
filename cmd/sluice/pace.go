package main

import "time"

// pacer keeps the work of a reload from standing in the way of requests: after a
// slice of work it sleeps for as long. On one core a goroutine that only computes
// would hold up every request for the ten milliseconds after which the scheduler
// stops it; yielding is not enough, because the scheduler looks at the network
// only when nothing else can run.
type pacer struct{ since time.Time }

// workSlice is how long the work of a reload goes on before it lets requests pass.
const workSlice = 200 * time.Microsecond

func (p *pacer) pace() {
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	if now.Sub(p.since) < workSlice {
		return
	}
	time.Sleep(workSlice)
	p.since = time.Now()
}

// paceEvery is after how many routes a loop over all of them lets others run.
const paceEvery = 256
