package scripts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/sluice-gateway/sluice/test/rig"
)

// stepGateway plays the steps whose subject is the process.
func (p *play) stepGateway(step Step) error {
	switch verb := strings.Join(step.Words[1:], " "); {
	case verb == "starts":
		return p.started()
	case verb == "refuses to start":
		return p.refusesToStart(step.Block)
	case strings.HasPrefix(verb, "may open "):
		p.limits = "ulimit -n " + step.Words[3]
		return nil
	case verb == "reloads":
		return p.reloads()
	case verb == "refuses to reload":
		return p.refusesToReload(step.Block)
	case strings.HasPrefix(verb, "gets SIG"):
		if err := p.started(); err != nil {
			return err
		}
		return p.signal(step.Words[2])
	case strings.HasPrefix(verb, "exits "):
		want, err := strconv.Atoi(step.Words[2])
		if err != nil {
			return err
		}
		return p.exits(want)
	}
	return errors.New("what should the gateway do?")
}

func (p *play) signal(name string) error {
	signals := map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT, "SIGHUP": syscall.SIGHUP}
	s, ok := signals[name]
	if !ok {
		return fmt.Errorf("no signal is called %s here", name)
	}
	return p.gateway.Signal(s)
}

func (p *play) refusesToStart(block []string) error {
	if err := p.launch(); err != nil {
		return err
	}
	code, err := p.gateway.Wait()
	if err != nil {
		return err
	}
	p.exited = true
	if code != 1 {
		return fmt.Errorf("wanted exit code 1, got %d", code)
	}
	return checkText(block, p.gateway.Log())
}

// status is what the player needs of /status.
type status struct {
	Revision int64  `json:"revision"`
	Hash     string `json:"hash"`
	Failed   int64  `json:"reloads_refused"`
}

func (p *play) status() (status, error) {
	var s status
	code, body, err := p.gateway.Get("/status")
	if err != nil {
		return s, err
	}
	if code != 200 {
		return s, fmt.Errorf("/status says %d", code)
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// reloads sends SIGHUP and waits until a newer revision is in force.
func (p *play) reloads() error {
	before, err := p.status()
	if err != nil {
		return err
	}
	if err := p.signal("SIGHUP"); err != nil {
		return err
	}
	return rig.Eventually(func() error {
		now, err := p.status()
		if err != nil {
			return err
		}
		if now.Revision <= before.Revision {
			return fmt.Errorf("the revision is still %d", now.Revision)
		}
		return nil
	})
}

// refusesToReload sends SIGHUP and waits until the log says why nothing came of it.
func (p *play) refusesToReload(block []string) error {
	if len(block) == 0 {
		return errors.New("say in a block what the log must tell")
	}
	before, err := p.status()
	if err != nil {
		return err
	}
	seen := len(p.gateway.Log())
	if err := p.signal("SIGHUP"); err != nil {
		return err
	}
	if err := rig.Eventually(func() error { return checkText(block, p.gateway.Log()[seen:]) }); err != nil {
		return err
	}
	after, err := p.status()
	if err != nil {
		return err
	}
	if after.Revision != before.Revision || after.Hash != before.Hash {
		return fmt.Errorf("the revision was %v and is %v", before, after)
	}
	return nil
}

// stepConfig plays "config becomes FILE": the document is replaced.
func (p *play) stepConfig(step Step) error {
	if len(step.Words) != 3 || step.Words[1] != "becomes" {
		return errors.New("write: config becomes FILE")
	}
	text, ok := p.script.Files[step.Words[2]]
	if !ok {
		return fmt.Errorf("the script has no file %s", step.Words[2])
	}
	return p.write("config.yaml", text)
}

// stepCommand plays "sluice ARGUMENTS… exits CODE": the block must be found in
// what the command prints.
func (p *play) stepCommand(step Step) error {
	n := len(step.Words)
	if n < 3 || step.Words[n-2] != "exits" {
		return errors.New("write: sluice ARGUMENTS… exits CODE")
	}
	want, err := strconv.Atoi(step.Words[n-1])
	if err != nil {
		return err
	}
	path, err := rig.Binary()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, step.Words[1:n-2]...)
	cmd.Dir = p.dir
	cmd.Env = append(cmd.Environ(), p.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	all := stdout.String() + stderr.String()
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("wanted exit code %d, got %d\n%s", want, got, all)
	}
	for _, word := range step.Words {
		if word == "json" && !json.Valid(stdout.Bytes()) {
			return fmt.Errorf("what was printed is not JSON:\n%s", all)
		}
	}
	return checkText(step.Block, all)
}
