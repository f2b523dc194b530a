package scripts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/sluice-gateway/sluice/test/rig"
)

// play is one script being played.
type play struct {
	script  *Script
	variant Variant
	dir     string
	names   map[string]string // $NAME → value
	origins map[string]*rig.Origin
	conns   map[string]*peer // clients, and connections that an origin accepted
	gateway *rig.Gateway
	config  string // the name of the file that is in force
	limits  string
	env     []string
	exited  bool
	traffic *traffic
	crowd   []*rig.Conn
}

// Play plays a script in a scratch folder. log gets what the gateway printed when
// something goes wrong.
func Play(s *Script, v Variant, dir string, log func(format string, args ...any)) error {
	p := &play{
		script: s, variant: v, dir: dir, config: "config.yaml",
		names:   map[string]string{"DIR": dir, "SCHEME": v.Client.Scheme(), "VERSION": v.Client.Version},
		origins: map[string]*rig.Origin{}, conns: map[string]*peer{},
	}
	defer p.drop()
	err := p.run()
	if err != nil && p.gateway != nil {
		log("the gateway printed:\n%s", p.gateway.Log())
	}
	return err
}

func (p *play) run() error {
	if err := p.prepare(); err != nil {
		return err
	}
	for _, step := range p.script.Steps {
		if err := p.step(step); err != nil {
			return fmt.Errorf("%s:%w", p.script.Path, fmt.Errorf("%d: %s\n%w", step.Line, step.Text, err))
		}
	}
	if err := p.finish(); err != nil {
		return fmt.Errorf("%s: at the end: %w", p.script.Path, err)
	}
	return nil
}

// prepare chooses addresses and writes the script's files.
func (p *play) prepare() error {
	for _, name := range append(p.script.Placeholders(), "ADMIN") {
		if _, ok := p.names[name]; ok {
			continue
		}
		if strings.HasPrefix(name, "ORIGIN") {
			o, err := rig.NewOrigin()
			if err != nil {
				return err
			}
			o.Wire = p.variant.Origin
			p.names[name] = o.Address
			p.origins[strings.ToLower(name)] = o
			continue
		}
		address, err := rig.FreeAddress()
		if err != nil {
			return err
		}
		p.names[name] = address
	}
	for name, text := range p.script.Files {
		if err := p.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

var (
	adminKey     = regexp.MustCompile(`(?m)^admin:`)
	telemetryKey = regexp.MustCompile(`(?m)^telemetry:`)
)

// write puts a file into the folder. A main document without an admin listener or
// an access log gets them at its end, because the player looks at them.
func (p *play) write(name, text string) error {
	text = p.expand(p.variant.render(text))
	if strings.HasSuffix(name, ".yaml") && strings.Contains(text, "listeners:\n") {
		text = strings.TrimRight(text, "\n") + "\n"
		if !adminKey.MatchString(text) {
			text += "admin: { address: \"" + p.names["ADMIN"] + "\" }\n"
		}
		if !telemetryKey.MatchString(text) {
			text += "telemetry: { access_log: { path: stdout } }\n"
		}
	}
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// expand puts the values into the place of $NAME; other dollars stay.
func (p *play) expand(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := p.names[name[1:]]; ok {
			return value
		}
		return name
	})
}

func (p *play) step(step Step) error {
	if !p.variant.counts(step.Only) {
		return nil
	}
	step.Block = p.variant.block(step.Block)
	words := make([]string, len(step.Words))
	for i, w := range step.Words {
		words[i] = p.expand(w)
	}
	block := make([]string, len(step.Block))
	for i, line := range step.Block {
		block[i] = p.expand(line)
	}
	step.Words, step.Block = words, block
	subject := words[0]
	switch {
	case subject == "gateway":
		return p.stepGateway(step)
	case subject == "sluice":
		return p.stepCommand(step)
	case subject == "environment":
		p.env = append(p.env, words[1:]...)
		return nil
	case subject == "config":
		return p.stepConfig(step)
	}
	if o, ok := p.origins[subject]; ok {
		return p.stepOrigin(o, step)
	}
	if err := p.started(); err != nil {
		return err
	}
	switch {
	case subject == "log", subject == "metric", subject == "metrics", subject == "admin", subject == "memory", subject == "traffic", subject == "crowd":
		return p.stepObserve(step)
	case strings.HasPrefix(subject, "client"):
		return p.stepClient(subject, step)
	}
	if c, ok := p.conns[subject]; ok {
		return p.stepPeer(c, step)
	}
	return fmt.Errorf("nobody is called %q: clients begin with client, origins have a $ORIGIN… in the files, and their connections are named by accepts", subject)
}

// started starts the gateway if that has not happened.
func (p *play) started() error {
	if p.gateway != nil {
		return nil
	}
	if err := p.launch(); err != nil {
		return err
	}
	return p.gateway.Ready()
}

func (p *play) launch() error {
	g, err := rig.Start(p.dir, p.config, p.names["ADMIN"], p.limits, p.env)
	p.gateway = g
	return err
}

// finish checks what every script promises: nothing unexpected reached an origin,
// and the gateway ends in good order when it is asked to.
func (p *play) finish() error {
	if p.traffic != nil {
		return errors.New("traffic was started and never ended")
	}
	for name, o := range p.origins {
		if err := o.Unexpected(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, c := range p.conns {
		if c.gone {
			continue
		}
		if err := c.Silent(); err != nil && !strings.Contains(err.Error(), "EOF") && !rig.Ended(err) {
			return fmt.Errorf("%s was sent something that the script does not read: %w", name, err)
		}
		c.Drop()
	}
	if p.gateway == nil || p.exited {
		return nil
	}
	if !p.gateway.Running() {
		return errors.New("the gateway has ended by itself")
	}
	if err := p.gateway.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.exits(0)
}

// exits waits for the end of the process.
func (p *play) exits(want int) error {
	code, err := p.gateway.Wait()
	if err != nil {
		return err
	}
	p.exited = true
	if code != want {
		return fmt.Errorf("wanted exit code %d, got %d", want, code)
	}
	for _, bad := range []string{"panic:", "DATA RACE", "fatal error:"} {
		if strings.Contains(p.gateway.Log(), bad) {
			return fmt.Errorf("the gateway printed %q", bad)
		}
	}
	return nil
}

func (p *play) drop() {
	if p.gateway != nil {
		p.gateway.Kill()
	}
	for _, c := range p.conns {
		c.Drop()
	}
	for _, c := range p.crowd {
		c.Drop()
	}
	for _, o := range p.origins {
		o.Close()
	}
}

// number reads a number, with KiB and MiB.
func number(s string) (int64, error) {
	factor := int64(1)
	for suffix, f := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, factor = rest, f
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n * factor, err
}
