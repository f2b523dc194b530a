package traffic

import (
	"strings"
	"testing"

	"github.com/sluice-gateway/sluice/unit"
)

func TestConcurrency(t *testing.T) {
	t.Parallel()
	good := func() Concurrency {
		c := Concurrency{Min: 4, Max: 1000, Queue: 10, Groups: unit.Map[int]{{Key: "gold", Value: 0}}}
		if err := c.Tolerance.UnmarshalText([]byte("1.5x")); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		spoil func(c *Concurrency)
		want  string // "": it is good
	}{
		{func(*Concurrency) {}, ""},
		{func(c *Concurrency) { c.Queue, c.Groups = 0, nil }, ""},
		{func(c *Concurrency) { c.Queue = 0 }, "without a queue"},
		{func(c *Concurrency) { c.Groups[0].Value = 4 }, "priority of gold is 4"},
		{func(c *Concurrency) { c.Groups[0].Value = -1 }, "priority of gold is -1"},
		{func(c *Concurrency) { c.Max = 3 }, "lower than the lowest"},
		{func(c *Concurrency) { c.Tolerance = 0 }, "1x or more"},
	} {
		settings := good()
		c.spoil(&settings)
		err := settings.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	var c Concurrency
	if err := c.UnmarshalText([]byte("adaptive")); err != nil || !c.Adaptive() {
		t.Error(err)
	}
	if err := c.UnmarshalText([]byte("200")); err == nil {
		t.Error("200 is taken for a word")
	}
}
