package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"[]": "",
		"- http://10.0.0.1:80\n- {url: \"https://b.internal\", weight: 3, zone: z, priority: 2}\n": "http://10.0.0.1:80 1  0, https://b.internal 3 z 2",
		`["http://10.0.0.1", {"url": "http://[::1]:81", "weight": 7}]`:                             "http://10.0.0.1 1  0, http://[::1]:81 7  0",
		"":                "! 1:1: there is no list here",
		"# nothing yet\n": "! 1:1: there is no list here",
		"endpoints: []":   "! 1:1: this must be a list, not a mapping",
		"- http://10.0.0.1:80\n- {url: \"http://b\", wieght: 3}": `! 2:21: unknown key "wieght": did you mean "weight"?`,
		"- http://10.0.0.1:80\n- {weight: 3}":                    `! 2:3: "url" is missing here`,
		"- {url: \"http://b\", weight: 0}":                       "! 1:29: this must be at least 1",
		"- 10.0.0.1:80":                                          `! 1:3: "10.0.0.1:80" is not a URL`,
		"- http://10.0.0.1:80\n- http://${env:HOME}":             "! 2:10: references cannot stand in a file of endpoints",
		"[\"http://10.0.0.1:80\", \"http://10":                   "! ",
		"- [http://10.0.0.1:80]":                                 "! 1:3: this must be a URL",
		"- \x00":                                                 "! 1:3: a control character cannot stand here",
	} {
		list, err := Endpoints("list.yaml", []byte(in))
		var words []string
		for _, e := range list {
			words = append(words, fmt.Sprintf("%s %d %s %d", e.URL, e.Weight, e.Zone, e.Priority))
		}
		got := strings.Join(words, ", ")
		if message, refused := strings.CutPrefix(want, "! "); refused {
			var problems Problems
			if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), "list.yaml:"+message) {
				t.Errorf("%q: %v, want %s", in, err, message)
			}
		} else if err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
}

// FuzzEndpoints: what is read can be dialled, and what is not has a place.
func FuzzEndpoints(f *testing.F) {
	f.Add([]byte("- http://10.0.0.1:80\n- {url: \"https://b.internal\", weight: 3}\n"))
	f.Add([]byte(`["http://10.0.0.1", null, {"url": 1}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := Endpoints("list.yaml", text)
		if err != nil && !strings.HasPrefix(err.Error(), "list.yaml:") {
			t.Errorf("an error without a place: %v", err)
		}
		for _, e := range list {
			if e.URL.Host() == "" || e.URL.Port() == 0 || e.Weight < 1 || e.Weight > 1000 {
				t.Errorf("%+v", e)
			}
		}
	})
}
