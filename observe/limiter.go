package observe

import "sync"

// maxLogKinds is how many kinds a LogLimiter tells apart.
const maxLogKinds = 1000

// logPause is the time between two lines of one kind, in nanoseconds.
const logPause = int64(1e9)

// LogLimiter keeps a log readable when the same thing goes wrong in every
// exchange: of each kind it lets one line a second through. The zero value is
// ready; many goroutines may use it.
type LogLimiter struct {
	mu    sync.Mutex
	kinds map[string]*logKind
}

type logKind struct {
	last       int64
	suppressed int64
}

// Allow says whether a line of this kind may be logged now, and how many were
// kept back since the last one, which belongs into the line. now is in nanoseconds
// on a clock that never goes back, such as Exchange.Now. A kind is a name from the
// configuration, nothing that a client sends; kinds past 1,000 are taken for one.
func (l *LogLimiter) Allow(kind string, now int64) (suppressed int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil {
		l.kinds = map[string]*logKind{}
	}
	k := l.kinds[kind]
	if k == nil && len(l.kinds) >= maxLogKinds {
		kind = Other
		k = l.kinds[kind]
	}
	if k == nil {
		l.kinds[kind] = &logKind{last: now}
		return 0, true
	}
	if now-k.last < logPause {
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	k.last, k.suppressed = now, 0
	return suppressed, true
}
