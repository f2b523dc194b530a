package pause

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		p := pool.Take()
		began := time.Now()
		if !p.For(time.Second) || time.Since(began) != time.Second {
			t.Errorf("waited for %s", time.Since(began))
		}

		go func() {
			time.Sleep(time.Second)
			p.Cancel()
			p.Cancel() // Once more does no harm.
		}()
		began = time.Now()
		if p.For(time.Minute) || time.Since(began) != time.Second {
			t.Errorf("a wait that was cancelled after a second took %s", time.Since(began))
		}
		synctest.Wait()

		// What was cancelled too late does not end the wait of the next user.
		p.Cancel()
		pool.Give(p)
		p = pool.Take()
		began = time.Now()
		if !p.For(time.Second) || time.Since(began) != time.Second {
			t.Errorf("the next user waited for %s", time.Since(began))
		}
	})
}

func TestCancelBeforeTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pool Pool
		p := pool.Take()
		p.Cancel()
		if p.For(time.Hour) {
			t.Error("a wait that was cancelled before it began went on")
		}
	})
}
