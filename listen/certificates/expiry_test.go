package certificates

import (
	"strings"
	"testing"
	"time"
)

func TestUrgency(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Now()
	for _, c := range []struct {
		life, left time.Duration
		managed    bool
		want       Urgency
	}{
		{365 * day, 31 * day, false, Calm},
		{365 * day, 30 * day, false, Soon},
		{365 * day, 8 * day, false, Soon},
		{365 * day, 7 * day, false, Urgent},
		{365 * day, -day, false, Urgent},
		{90 * day, 30 * day, false, Soon},
		{90 * day, 30 * day, true, Calm},
		{90 * day, 15 * day, true, Soon},
		{90 * day, 3 * day, true, Urgent},
		{day, 9 * time.Hour, false, Calm},
		{day, 8 * time.Hour, false, Soon},
		{day, 2 * time.Hour, false, Urgent},
		{6 * day, 25 * time.Hour, true, Calm},
		{6 * day, 24 * time.Hour, true, Soon},
	} {
		e := Expiry{NotBefore: now.Add(c.left - c.life), NotAfter: now.Add(c.left), Managed: c.managed}
		if got := e.Urgency(now); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestWarningsAreLoggedOnceADay(t *testing.T) {
	t.Parallel()
	root := newAuthority("Root", nil)
	dir := t.TempDir()
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}, from: -300 * 24 * time.Hour, until: 20 * 24 * time.Hour})
	fine := root.files(t, dir, "b", leaf{names: []string{"b.example.com"}, until: 400 * 24 * time.Hour})
	j := &journal{}
	c := newClock()
	s := open(t, Spec{Files: []Files{f, fine}}, Env{Logger: j.logger(), Now: c.now})
	for range 48 {
		s.Refresh()
		c.add(time.Hour)
	}
	if n := strings.Count(j.text(), "level=WARN msg=\"certificate expires soon\""); n != 2 {
		t.Errorf("%d warnings in two days:\n%s", n, j.text())
	}
	c.add(12 * 24 * time.Hour)
	s.Refresh()
	if !strings.Contains(j.text(), "level=ERROR msg=\"certificate expires soon\"") {
		t.Error(j.text())
	}
	c.add(6*24*time.Hour - time.Hour)
	s.Refresh()
	c.add(2 * time.Hour) // That it has expired is told at once, although a warning was logged today.
	s.Refresh()
	if !strings.Contains(j.text(), "certificate has expired") || strings.Contains(j.text(), "b.example.com") {
		t.Error(j.text())
	}
	left := map[string]float64{}
	s.Measure(func(source string, seconds float64) { left[source] = seconds })
	if len(left) != 2 || left[f.Certificate] >= 0 || left[fine.Certificate] < 300*24*3600 {
		t.Errorf("%v", left)
	}
	// What replaces it is not warned of.
	root.files(t, dir, "a", leaf{names: []string{"a.example.com"}, until: 4000 * time.Hour})
	s.Refresh()
	if len(s.Problems()) != 0 {
		t.Error(s.Problems())
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	root := newAuthority("Root", nil)
	dir := t.TempDir()
	f := root.files(t, dir, "a", leaf{names: []string{"a.example.com"}, from: -300 * 24 * time.Hour, until: 72*time.Hour + time.Minute})
	warnings, err := Check(Spec{Files: []Files{f}}, nil, time.Now())
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], f.Certificate+": the certificate for a.example.com expires in 3 days, on ") {
		t.Errorf("%q, %v", warnings, err)
	}
	folder := dir + "/never"
	if w, err := Check(Spec{SelfSigned: &SelfSigned{Folder: folder}, Default: "localhost"}, nil, time.Now()); err != nil || w != nil {
		t.Errorf("%v, %v", w, err)
	}
	if _, _, err := readFile(folder, time.Now()); err == nil {
		t.Error("a check has made a folder")
	}
	for d, want := range map[time.Duration]string{50 * time.Hour: "2 days", 47 * time.Hour: "47 hours", 90 * time.Minute: "90 minutes"} {
		if got := span(d); got != want {
			t.Errorf("%s is %s", d, got)
		}
	}
}
