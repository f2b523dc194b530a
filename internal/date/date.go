// Package date writes the Date of answers: the text of a second is made once and
// shared by all connections of a server, whatever they speak.
package date

import (
	"sync/atomic"
	"time"
)

// layout is RFC 9110 §5.6.7's IMF-fixdate.
const layout = "Mon, 02 Jan 2006 15:04:05 GMT"

// Length is the number of bytes that Append adds.
const Length = len(layout)

// Cache holds the text of the last second that somebody asked for. Its zero value
// is ready, and any number of goroutines may use it.
type Cache struct{ last atomic.Pointer[text] }

// text is the value of Date for one second.
type text struct {
	second int64
	bytes  [Length]byte
}

// Append adds the value of Date at t. It allocates once a second.
func (c *Cache) Append(out []byte, t time.Time) []byte {
	second := t.Unix()
	last := c.last.Load()
	if last == nil || last.second != second {
		last = &text{second: second}
		t.UTC().AppendFormat(last.bytes[:0], layout)
		c.last.Store(last)
	}
	return append(out, last.bytes[:]...)
}
