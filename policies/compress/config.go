package compress

import (
	"fmt"
	"strings"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `compress`.
type Config struct {
	Encodings   unit.List[coding]     `yaml:"encodings" default:"[zstd, br, gzip]" min:"1" doc:"Which codings may be used: zstd, br, gzip. The first one that a client likes best wins."`
	Level       level                 `yaml:"level" default:"fast" doc:"How much work goes into it: fast, balanced or small."`
	MinimumSize unit.Size             `yaml:"minimum_size" default:"1KiB" doc:"Shorter answers are sent as they are. An answer of unknown length counts as long."`
	Types       unit.List[mediaRange] `yaml:"types" default:"[text/*, application/json, application/*+json, application/x-ndjson, application/xml, application/*+xml, image/svg+xml, application/javascript, application/wasm, application/yaml, font/otf, font/ttf]" min:"1" doc:"Which media types are compressed: application/json, text/*, application/*+json."`
}

// Validate refuses a coding that is named twice.
func (c *Config) Validate() error {
	var seen [codings]bool
	for i, e := range c.Encodings {
		if seen[e] {
			return unit.Problem(fmt.Sprintf("encodings[%d]", i), e.String()+" is named twice")
		}
		seen[e] = true
	}
	return nil
}

// level is how much work goes into compressing.
type level uint8

const (
	fast level = iota
	balanced
	small
	levels
)

func (l level) String() string { return [...]string{"fast", "balanced", "small"}[l] }

// MarshalText is String.
func (l level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Form says how a level is written.
func (level) Form() unit.Form {
	return unit.Form{Name: "level", Is: "a level: fast, balanced or small", Pattern: "^(fast|balanced|small)$"}
}

// UnmarshalText reads the name of a level.
func (l *level) UnmarshalText(text []byte) error {
	for known := range levels {
		if known.String() == string(text) {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("%q is not a level: fast, balanced or small", text)
}

// mediaRange is one media type, or all of a kind: "text/*", "application/*+json".
type mediaRange struct {
	before, after string // what stands before and after the asterisk; in before everything if there is none
	wild          bool
}

// Form says how a media range is written.
func (mediaRange) Form() unit.Form {
	return unit.Form{Name: "media type", Is: "a media type such as application/json, text/* or application/*+json"}
}

// String is the range as it is written.
func (r mediaRange) String() string {
	if r.wild {
		return r.before + "*" + r.after
	}
	return r.before
}

// MarshalText is String.
func (r mediaRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a media type without parameters, or a range of them.
func (r *mediaRange) UnmarshalText(text []byte) error {
	s := message.LowerASCII(string(text))
	kind, sub, ok := strings.Cut(s, "/")
	if strings.Contains(s, ";") {
		return fmt.Errorf("%q has parameters, which do not count here: write %s", s, strings.TrimSpace(s[:strings.IndexByte(s, ';')]))
	}
	if kind == "*" {
		return fmt.Errorf("%q would compress again what is compressed already, such as images and archives: name the types", s)
	}
	if !ok || !message.ValidName(kind) || !message.ValidName(sub) || strings.Contains(kind, "*") {
		return fmt.Errorf("%q is not a media type: write application/json, text/* or application/*+json", s)
	}
	before, after, wild := strings.Cut(s, "*")
	if wild && (before != kind+"/" || after != "" && (after[0] != '+' || strings.Contains(after, "*"))) {
		return fmt.Errorf("%q is not a media type: an asterisk stands for all behind the slash, or for all before a suffix such as +json", s)
	}
	*r = mediaRange{before, after, wild}
	return nil
}

// has says whether a media type without parameters is in the range.
func (r *mediaRange) has(media string) bool {
	if !r.wild {
		return message.EqualFold(media, r.before)
	}
	n := len(media) - len(r.after)
	return n > len(r.before) && message.EqualFold(media[:len(r.before)], r.before) && message.EqualFold(media[n:], r.after)
}
