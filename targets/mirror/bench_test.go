package mirror

import (
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// BenchmarkServe: what a request costs that is not copied, and one that is.
func BenchmarkServe(b *testing.B) {
	ok := func(x *message.Exchange) error { x.Response.Status = 200; return nil }
	for name, more := range map[string]string{"not copied": ", share: 0.0001%", "copied": "", "compared": ", compare: {}"} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, more, ok, ok)
			x := arrived("GET", nil)
			b.ReportAllocs()
			for b.Loop() {
				x.Response.Reset()
				_ = r.serve(x)
				r.mirror.done.Wait()
			}
			r.end()
		})
	}
}
