package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestChangesAreTakenTogether: of many endpoints that fall ill at once, the first one is heeded at
// once and the others together, soon after.
func TestChangesAreTakenTogether(t *testing.T) {
	t.Parallel()
	for _, balance := range []string{"round_robin", "least_request", "maglev"} {
		synctest.Test(t, func(t *testing.T) {
			c := many(2*coalesceAbove, balance)
			c.PanicThreshold = 0.1
			u, _ := newUpstream(t, c)
			time.Sleep(longestRenewal)
			all := u.Endpoints()
			before := u.chosen.Load()
			u.Mark(all[0], Ejected, true)
			first := u.chosen.Load()
			if first == before {
				t.Errorf("%s: the first one is not heeded at once", balance)
			}
			for _, e := range all[1:coalesceAbove] {
				u.Mark(e, Ejected, true)
			}
			if u.chosen.Load() != first {
				t.Errorf("%s: each is heeded for itself", balance)
			}
			time.Sleep(longestRenewal)
			synctest.Wait()
			s := u.chosen.Load()
			if s == first || s.well != wellShare(all) {
				t.Errorf("%s: the others are not heeded: %v well, want %v", balance, s.well, wellShare(all))
			}
			for i := range 3000 {
				if e := s.pick(u, hint{hash: uint64(i) * 0x9e3779b97f4a7c15}, triedSet{}); e.ill.Load() != 0 {
					t.Fatalf("%s: %s gets requests", balance, e.address)
				}
			}
			time.Sleep(longestRenewal)
			if u.Mark(all[0], Ejected, false); u.chosen.Load() == s {
				t.Errorf("%s: after a pause the next one is not heeded at once", balance)
			}
			u.Mark(all[1], Ejected, false) // Its renewal finds the upstream closed.
			_ = u.Close()
			time.Sleep(longestRenewal)
		})
	}
}

// TestFewEndpointsAreHeededAtOnce: each change by itself.
func TestFewEndpointsAreHeededAtOnce(t *testing.T) {
	t.Parallel()
	u, _ := newUpstream(t, many(coalesceAbove, "round_robin"))
	for _, e := range u.Endpoints()[:100] {
		before := u.chosen.Load()
		if u.Mark(e, Ejected, true); u.chosen.Load() == before {
			t.Fatal("a change is not heeded at once")
		}
	}
}

// TestCircleStays: illness makes no table anew, and only the keys of those who are ill go elsewhere.
func TestCircleStays(t *testing.T) {
	t.Parallel()
	c := many(1000, "maglev")
	c.Zone, c.ZoneMinimum, c.PanicThreshold = "a", 0.7, 0.2
	for i := range c.Endpoints {
		c.Endpoints[i].Zone = string("ab"[i%2])
	}
	u, _ := newUpstream(t, c)
	circleOf := func() *circle { return u.chosen.Load().levels[0].balancer.(*consistent).circle }
	near := circleOf()
	of := func(key int) *Endpoint {
		return u.chosen.Load().pick(u, hint{hash: uint64(key) * 0x9e3779b97f4a7c15}, triedSet{})
	}
	const keys = 2000
	var before [keys]*Endpoint
	for key := range keys {
		before[key] = of(key)
		if before[key].zone != "a" {
			t.Fatalf("a key goes to zone %s", before[key].zone)
		}
	}
	all := u.Endpoints()
	for i := 0; i < 100; i += 2 { // A tenth of zone a.
		u.Mark(all[i], Ejected, true)
	}
	u.mu.Lock()
	u.renew()
	u.mu.Unlock()
	if circleOf() != near {
		t.Error("the table was made anew")
	}
	for key := range keys {
		if e := of(key); e.ill.Load() != 0 || before[key].ill.Load() == 0 && e != before[key] {
			t.Fatalf("the key of %s goes to %s", before[key].address, e.address)
		}
	}
	for i := 0; i < 400; i += 2 { // Two fifths: the other zone helps.
		u.Mark(all[i], Ejected, true)
	}
	u.mu.Lock()
	u.renew()
	u.mu.Unlock()
	if circleOf() == near {
		t.Error("the table is that of the zone")
	}
	far := 0
	for key := range keys {
		e := of(key)
		if e.ill.Load() != 0 {
			t.Fatal("an ill endpoint gets requests")
		}
		if e.zone == "b" {
			far++
		}
	}
	if far < keys/3 {
		t.Errorf("%d of %d keys go to the other zone", far, keys)
	}
}

// TestNearlyAllAreIll: who is well is found though no place nearby is theirs.
func TestNearlyAllAreIll(t *testing.T) {
	t.Parallel()
	u, _ := newUpstream(t, many(5000, "maglev"))
	u.mu.Lock()
	for _, e := range u.Endpoints()[1:] {
		e.ill.Store(uint32(Ejected))
	}
	u.renew()
	u.mu.Unlock()
	for key := range 100 {
		if e := u.chosen.Load().pick(u, hint{hash: uint64(key) << 50}, triedSet{}); e != u.Endpoints()[0] {
			t.Fatalf("a key goes to %s, which is ill", e.address)
		}
	}
}
