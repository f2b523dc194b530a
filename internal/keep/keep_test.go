package keep

import (
	"errors"
	"io"
	"sync"
	"testing"
)

// thing counts how often it was closed.
type thing struct {
	closed int
	err    error
}

func (t *thing) Close() error { t.closed++; return t.err }

// otherThing is what is kept after the code has changed its mind.
type otherThing struct{ thing }

func open(t *testing.T, l *Lease, key string) *thing {
	t.Helper()
	v, err := Open(l, key, func() (*thing, error) { return &thing{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestKeepSurvivesAReload(t *testing.T) {
	t.Parallel()
	k := New()
	before := k.Lease()
	v := open(t, before, "cells")
	after := k.Lease()
	if open(t, after, "cells") != v {
		t.Error("the policy in the same place got something new")
	}
	if err := before.Close(); err != nil || v.closed != 0 {
		t.Errorf("closed %d times while it is used: %v", v.closed, err)
	}
	if err := before.Close(); err != nil || v.closed != 0 {
		t.Error("a lease that is closed twice gives back what others hold")
	}
	if err := after.Close(); err != nil || v.closed != 1 || k.Len() != 0 {
		t.Errorf("closed %d times, %d kept: %v", v.closed, k.Len(), err)
	}
	if again := open(t, k.Lease(), "cells"); again == v {
		t.Error("something that is closed was handed out")
	}
}

// TestKeepOfAnotherType is a reload after which something else is kept under the key: both are used for a while, and each is closed once.
func TestKeepOfAnotherType(t *testing.T) {
	t.Parallel()
	k := New()
	before, after := k.Lease(), k.Lease()
	old := open(t, before, "store")
	v, err := Open(after, "store", func() (*otherThing, error) { return &otherThing{}, nil })
	if err != nil || v == nil {
		t.Fatal(v, err)
	}
	if err := before.Close(); err != nil || old.closed != 1 || v.closed != 0 {
		t.Errorf("the old one was closed %d times, the new one %d times: %v", old.closed, v.closed, err)
	}
	third, err := Open(k.Lease(), "store", func() (*otherThing, error) { return &otherThing{}, nil })
	if err != nil || third != v {
		t.Errorf("the new one is not kept: %v", err)
	}
}

// TestKeepAfterARefusedReload is a configuration in which something of another type is
// kept, and that is refused in the end: what was there before is there again.
func TestKeepAfterARefusedReload(t *testing.T) {
	t.Parallel()
	k := New()
	inForce := k.Lease()
	old := open(t, inForce, "store")
	for range 2 {
		refused := k.Lease()
		v, err := Open(refused, "store", func() (*otherThing, error) { return &otherThing{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := refused.Close(); err != nil || v.closed != 1 || old.closed != 0 {
			t.Errorf("the new one was closed %d times, the old one %d times: %v", v.closed, old.closed, err)
		}
	}
	next := k.Lease()
	if open(t, next, "store") != old {
		t.Error("what was kept is lost")
	}
	// And in the other order: the old one goes first, in the middle of a chain.
	other, err := Open(k.Lease(), "store", func() (*otherThing, error) { return &otherThing{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []*Lease{inForce, next} {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
	}
	if old.closed != 1 || other.closed != 0 || k.Len() != 1 {
		t.Errorf("closed %d and %d times, %d are kept", old.closed, other.closed, k.Len())
	}
	again, err := Open(k.Lease(), "store", func() (*otherThing, error) { return nil, errors.New("opened anew") })
	if err != nil || again != other {
		t.Errorf("%v, %v", again, err)
	}
}

// TestKeepInKeep opens something that itself keeps something.
func TestKeepInOpen(t *testing.T) {
	t.Parallel()
	k := New()
	env := k.Lease()
	var inner *thing
	outer, err := Open(env, "outer", func() (*otherThing, error) {
		inner = open(t, env, "inner")
		return &otherThing{}, nil
	})
	if err != nil || k.Len() != 2 {
		t.Fatalf("%v, %d are kept", err, k.Len())
	}
	if err := env.Close(); err != nil || inner.closed != 1 || outer.closed != 1 || k.Len() != 0 {
		t.Errorf("%v, closed %d and %d times", err, inner.closed, outer.closed)
	}
}

func TestKeepErrors(t *testing.T) {
	t.Parallel()
	k := New()
	env := k.Lease()
	wrong := errors.New("no room")
	v, err := Open(env, "store", func() (*thing, error) { return nil, wrong })
	if v != nil || !errors.Is(err, wrong) || k.Len() != 0 {
		t.Errorf("%v, %v, %d kept", v, err, k.Len())
	}
	open(t, env, "a").err = errors.New("first")
	open(t, env, "b").err = errors.New("second")
	if err := env.Close(); err == nil || err.Error() != "first\nsecond" {
		t.Errorf("Close says %v", err)
	}
}

func TestKeepConcurrently(t *testing.T) {
	t.Parallel()
	k := New()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				env := k.Lease()
				v, err := Open(env, "cells", func() (io.Closer, error) { return &thing{}, nil })
				if err != nil || v.(*thing).closed != 0 {
					t.Error("something that is closed was handed out")
				}
				if err := env.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if k.Len() != 0 {
		t.Errorf("%d are kept", k.Len())
	}
}
