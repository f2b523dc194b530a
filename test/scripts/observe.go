package scripts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gateway/sluice/test/rig"
)

// stepObserve plays what is seen from outside: logs, metrics, admin answers.
func (p *play) stepObserve(step Step) error {
	verb := strings.Join(step.Words[1:], " ")
	switch step.Words[0] + " " + verb {
	case "log has":
		return rig.Eventually(func() error { return checkLine(step.Block, p.gateway.Log()) })
	case "log lacks":
		for _, line := range step.Block {
			if found, err := contains(line, p.gateway.Log()); found || err != nil {
				return fmt.Errorf("the log has it: %s %w", line, err)
			}
		}
		return nil
	case "metrics pass promtool":
		return p.promtool()
	case "traffic ends":
		return p.endTraffic()
	}
	switch {
	case step.Words[0] == "metric":
		return p.metric(step.Words[1:])
	case step.Words[0] == "admin":
		return p.admin(step)
	case step.Words[0] == "crowd":
		return p.stepCrowd(step.Words[1:])
	case step.Words[0] == "traffic":
		return p.startTraffic(step.Words[1:])
	case strings.HasPrefix(verb, "stays below "):
		return p.memory(step.Words[3])
	}
	return errors.New("what should be observed?")
}

func (p *play) memory(limit string) error {
	most, err := number(limit)
	if err != nil {
		return err
	}
	peak, err := p.gateway.Peak()
	if err == nil && peak > most {
		return fmt.Errorf("the gateway had %d KiB resident", peak>>10)
	}
	return err
}

// metric plays "metric NAME is N" and "metric NAME is at least N". NAME may have
// labels; all labels given must be there, others may be. The values of all
// samples that fit are added.
func (p *play) metric(words []string) error {
	name := words[0]
	want, err := strconv.ParseFloat(words[len(words)-1], 64)
	if err != nil {
		return err
	}
	atLeast := strings.Contains(strings.Join(words, " "), "is at least")
	return rig.Eventually(func() error {
		code, body, err := p.gateway.Get("/metrics")
		if err != nil || code != 200 {
			return fmt.Errorf("/metrics says %d %w", code, err)
		}
		got, found := sample(body, name)
		if !found && want != 0 {
			return fmt.Errorf("there is no %s", name)
		}
		if got != want && !(atLeast && got > want) {
			return fmt.Errorf("wanted %v, got %v", want, got)
		}
		return nil
	})
}

// sample adds up the samples of a metric in a text exposition.
func sample(text, want string) (sum float64, found bool) {
	name, labels, _ := strings.Cut(strings.TrimSuffix(want, "}"), "{")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		n, l, _ := strings.Cut(strings.TrimSuffix(line[:at], "}"), "{")
		if n != name {
			continue
		}
		all := true
		for _, label := range strings.Split(labels, ",") {
			all = all && strings.Contains(","+l, ","+label)
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if all && err == nil {
			sum, found = sum+v, true
		}
	}
	return sum, found
}

// admin plays "admin GET PATH gives CODE".
func (p *play) admin(step Step) error {
	if len(step.Words) != 5 || step.Words[1] != "GET" || step.Words[3] != "gives" {
		return errors.New("write: admin GET PATH gives CODE")
	}
	return rig.Eventually(func() error {
		code, body, err := p.gateway.Get(step.Words[2])
		if err != nil {
			return err
		}
		if strconv.Itoa(code) != step.Words[4] {
			return fmt.Errorf("wanted %s, got %d\n%s", step.Words[4], code, body)
		}
		return checkText(step.Block, body)
	})
}

func (p *play) promtool() error {
	code, body, err := p.gateway.Get("/metrics")
	if err != nil || code != 200 {
		return fmt.Errorf("/metrics says %d %w", code, err)
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("promtool: %w\n%s", err, &out)
	}
	return nil
}

// traffic is a number of clients that ask again and again over kept connections.
type traffic struct {
	stop   chan struct{}
	done   sync.WaitGroup
	asked  atomic.Int64
	mu     sync.Mutex
	failed error
}

const trafficClients = 4

// startTraffic plays "traffic asks for TARGET".
func (p *play) startTraffic(words []string) error {
	if len(words) != 3 || words[0] != "asks" || words[1] != "for" {
		return errors.New("write: traffic asks for TARGET")
	}
	t := &traffic{stop: make(chan struct{})}
	p.traffic = t
	for range trafficClients {
		t.done.Go(func() {
			if err := t.ask(p.variant.Client, p.names["WEB"], words[2]); err != nil {
				t.mu.Lock()
				t.failed = err
				t.mu.Unlock()
			}
		})
	}
	return rig.Eventually(func() error {
		if t.asked.Load() < 4*trafficClients {
			return errors.New("the traffic does not flow")
		}
		return nil
	})
}

func (t *traffic) ask(wire rig.Wire, address, target string) error {
	c, err := wire.Connect(address, "")
	if err != nil {
		return err
	}
	defer c.Drop()
	request := rig.Head{Method: "GET", Target: target, Fields: []rig.Field{{Name: "Host", Value: "example.com"}}}
	for {
		select {
		case <-t.stop:
			return nil
		default:
		}
		if err := rig.Send(c, request, ""); err != nil {
			return err
		}
		m, err := c.Head()
		if err != nil {
			return fmt.Errorf("request %d of the traffic was lost: %w", t.asked.Load(), err)
		}
		if err := c.Body(m, false); err != nil {
			return err
		}
		if m.Status() != 200 || m.Incomplete != nil {
			return fmt.Errorf("request %d of the traffic: %s", t.asked.Load(), m)
		}
		t.asked.Add(1)
		// A server that says so may close; everything else must not lose a request.
		if m.Value("Connection") == "close" {
			return io.EOF
		}
		time.Sleep(time.Millisecond)
	}
}

// endTraffic plays "traffic ends": not one request was lost, and some were asked
// after everything else had happened.
func (p *play) endTraffic() error {
	t := p.traffic
	if t == nil {
		return errors.New("there is no traffic")
	}
	before := t.asked.Load()
	err := rig.Eventually(func() error {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.failed == nil && t.asked.Load() < before+4*trafficClients {
			return errors.New("the traffic does not flow any more")
		}
		return nil
	})
	close(t.stop)
	t.done.Wait()
	p.traffic = nil
	return errors.Join(err, t.failed)
}

// stepCrowd plays "crowd opens N" and "crowd leaves": N connections that each ask
// for / and do not wait for an answer.
func (p *play) stepCrowd(words []string) error {
	if words[0] == "leaves" {
		for _, c := range p.crowd {
			c.Drop()
		}
		p.crowd = nil
		return nil
	}
	n, err := number(words[len(words)-1])
	if err != nil {
		return err
	}
	for range n {
		c, err := rig.Dial(p.names["WEB"], "")
		if err != nil {
			return err
		}
		c.Send("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
		p.crowd = append(p.crowd, c)
	}
	return nil
}
