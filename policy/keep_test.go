package policy

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// thing counts how often it was closed.
type thing struct {
	closed int
	err    error
}

func (t *thing) Close() error { t.closed++; return t.err }

// otherThing is what a policy keeps after its code has changed its mind.
type otherThing struct{ thing }

func envOf(k *Keeper, route, name string) *Env {
	rooms := 0
	return &Env{Place: Place{Route: route, Name: name}, Lease: k.Lease(), Shared: &Shared{}, Rooms: &rooms}
}

func open(t *testing.T, env *Env, key string) *thing {
	t.Helper()
	v, err := Keep(env, key, func() (*thing, error) { return &thing{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestKeepSurvivesAReload(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	before := envOf(k, "orders", "rate_limit")
	v := open(t, before, "cells")
	after := envOf(k, "orders", "rate_limit")
	if open(t, after, "cells") != v {
		t.Error("the policy in the same place got something new")
	}
	if err := before.Lease.Close(); err != nil || v.closed != 0 {
		t.Errorf("closed %d times while it is used: %v", v.closed, err)
	}
	if err := before.Lease.Close(); err != nil || v.closed != 0 {
		t.Error("a lease that is closed twice gives back what others hold")
	}
	if err := after.Lease.Close(); err != nil || v.closed != 1 || k.Len() != 0 {
		t.Errorf("closed %d times, %d kept: %v", v.closed, k.Len(), err)
	}
	if again := open(t, envOf(k, "orders", "rate_limit"), "cells"); again == v {
		t.Error("something that is closed was handed out")
	}
}

func TestKeepTellsPlacesApart(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	seen := map[*thing]string{}
	for _, place := range [][3]string{
		{"", "rate_limit", "a"}, {"orders", "rate_limit", "a"}, {"orders", "rate_limit#2", "a"}, {"orders", "rate_limit", "b"},
	} {
		v := open(t, envOf(k, place[0], place[1]), place[2])
		if other, ok := seen[v]; ok {
			t.Errorf("%v got what %s has", place, other)
		}
		seen[v] = fmt.Sprint(place)
	}
	if k.Len() != 4 {
		t.Errorf("%d are kept", k.Len())
	}
}

// TestKeepOfAnotherType is a reload into a policy of another kind, or one whose code keeps
// something else: both are used for a while, and each is closed once.
func TestKeepOfAnotherType(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	before, after := envOf(k, "orders", "cache"), envOf(k, "orders", "cache")
	old := open(t, before, "store")
	v, err := Keep(after, "store", func() (*otherThing, error) { return &otherThing{}, nil })
	if err != nil || v == nil {
		t.Fatal(v, err)
	}
	if err := before.Lease.Close(); err != nil || old.closed != 1 || v.closed != 0 {
		t.Errorf("the old one was closed %d times, the new one %d times: %v", old.closed, v.closed, err)
	}
	third, err := Keep(envOf(k, "orders", "cache"), "store", func() (*otherThing, error) { return &otherThing{}, nil })
	if err != nil || third != v {
		t.Errorf("the new one is not kept: %v", err)
	}
}

// TestKeepAfterARefusedReload is a configuration in which something of another type is
// kept, and that is refused in the end: what was there before is there again.
func TestKeepAfterARefusedReload(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	inForce := envOf(k, "orders", "cache")
	old := open(t, inForce, "store")
	for range 2 {
		refused := envOf(k, "orders", "cache")
		v, err := Keep(refused, "store", func() (*otherThing, error) { return &otherThing{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := refused.Lease.Close(); err != nil || v.closed != 1 || old.closed != 0 {
			t.Errorf("the new one was closed %d times, the old one %d times: %v", v.closed, old.closed, err)
		}
	}
	next := envOf(k, "orders", "cache")
	if open(t, next, "store") != old {
		t.Error("what was kept is lost")
	}
	// And in the other order: the old one goes first, in the middle of a chain.
	other, err := Keep(envOf(k, "orders", "cache"), "store", func() (*otherThing, error) { return &otherThing{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []*Env{inForce, next} {
		if err := env.Lease.Close(); err != nil {
			t.Error(err)
		}
	}
	if old.closed != 1 || other.closed != 0 || k.Len() != 1 {
		t.Errorf("closed %d and %d times, %d are kept", old.closed, other.closed, k.Len())
	}
	again, err := Keep(envOf(k, "orders", "cache"), "store", func() (*otherThing, error) { return nil, errors.New("opened anew") })
	if err != nil || again != other {
		t.Errorf("%v, %v", again, err)
	}
}

// TestKeepInKeep opens something that itself keeps something.
func TestKeepInKeep(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	env := envOf(k, "orders", "cache")
	var inner *thing
	outer, err := Keep(env, "outer", func() (*otherThing, error) {
		inner = open(t, env, "inner")
		return &otherThing{}, nil
	})
	if err != nil || k.Len() != 2 {
		t.Fatalf("%v, %d are kept", err, k.Len())
	}
	if err := env.Lease.Close(); err != nil || inner.closed != 1 || outer.closed != 1 || k.Len() != 0 {
		t.Errorf("%v, closed %d and %d times", err, inner.closed, outer.closed)
	}
}

func TestKeepErrors(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	env := envOf(k, "orders", "cache")
	wrong := errors.New("no room")
	v, err := Keep(env, "store", func() (*thing, error) { return nil, wrong })
	if v != nil || !errors.Is(err, wrong) || k.Len() != 0 {
		t.Errorf("%v, %v, %d kept", v, err, k.Len())
	}
	open(t, env, "a").err = errors.New("first")
	open(t, env, "b").err = errors.New("second")
	if err := env.Lease.Close(); err == nil || err.Error() != "first\nsecond" {
		t.Errorf("Close says %v", err)
	}
}

func TestKeepConcurrently(t *testing.T) {
	t.Parallel()
	k := NewKeeper()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				env := envOf(k, "orders", "rate_limit")
				v, err := Keep(env, "cells", func() (io.Closer, error) { return &thing{}, nil })
				if err != nil || v.(*thing).closed != 0 {
					t.Error("something that is closed was handed out")
				}
				if err := env.Lease.Close(); err != nil {
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

func TestShare(t *testing.T) {
	t.Parallel()
	made := 0
	build := func() (int, error) { made++; return 40 + made, nil }
	shared := &Shared{}
	a, b := &Env{Shared: shared}, &Env{Shared: shared}
	for _, env := range []*Env{a, b, a} {
		if v, err := Share(env, "x", build); v != 41 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
	}
	if v, _ := Share(&Env{Shared: &Shared{}}, "x", build); v != 42 {
		t.Errorf("another snapshot got %d", v)
	}
	if v, _ := Share(&Env{}, "x", build); v != 43 {
		t.Errorf("without room to share it is %d", v)
	}
	wrong := errors.New("wrong")
	for range 2 {
		if _, err := Share(a, "y", func() (int, error) { made++; return 0, wrong }); !errors.Is(err, wrong) {
			t.Errorf("the error is %v", err)
		}
	}
	if made != 5 {
		t.Errorf("made %d times: an error must not be remembered", made)
	}
}

func TestVouch(t *testing.T) {
	t.Parallel()
	var names []string
	env := &Env{Vouched: &names}
	env.Vouch("X-Consumer-Name", "X-Consumer-Groups")
	env.Vouch("X-Scopes")
	if len(names) != 3 || names[2] != "X-Scopes" {
		t.Errorf("%q", names)
	}
	(&Env{}).Vouch("X-Consumer-Name") // nobody collects: nothing happens
}

func TestLocal(t *testing.T) {
	type counts struct{ seen, more int }
	env := envOf(NewKeeper(), "", "a")
	first, second := NewLocal[counts](env), NewLocal[counts](env)
	if *env.Rooms != 2 {
		t.Errorf("%d rooms", *env.Rooms)
	}
	x := &message.Exchange{}
	run := func() {
		x.Reset()
		if c := first.At(x); c.seen != 0 || c.more != 0 {
			t.Error("the room is not empty at first use")
		}
		first.At(x).seen = 7
		second.At(x).seen++
		if first.At(x).seen != 7 || second.At(x).seen != 1 {
			t.Error("the room is not the policy's own")
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n > 0 && !raceEnabled {
		t.Errorf("%v allocations an exchange", n)
	}
}
