package policy

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sluice-gateway/sluice/message"
)

// thing is what a policy keeps.
type thing struct{ closed int }

func (t *thing) Close() error { t.closed++; return nil }

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
