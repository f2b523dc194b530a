package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Consul is the source that asks Consul's HTTP API for the healthy instances of a
// service, with blocking queries: an answer comes when something has changed.
type Consul struct {
	Server
	Service     string
	Tags        []string      // an instance must have all of them
	Datacenter  string        // "": that of the agent
	Token       string        // of its access control; a secret
	Stale       bool          // any server may answer, not only the leader
	Wait        time.Duration // longest time for which a query blocks; default 1m
	ZoneMeta    string        // the key of a node's metadata that is its zone; default "zone"
	Secure      bool          // instances speak TLS
	AcceptEmpty bool          // no healthy instance empties the list
}

const (
	defaultWait = time.Minute
	// consulPause is the shortest time between the beginnings of two queries: so a
	// service that changes all the time does not keep both sides busy.
	consulPause = 500 * time.Millisecond
	// maxWeightConsul is what Consul itself allows.
	maxWeightConsul = 65_535
)

// String is what is watched.
func (c *Consul) String() string { return "consul " + c.Service + " at " + withoutSecrets(c.URL) }

// Watch is the method of Source.
func (c *Consul) Watch(ctx context.Context, send func([]Endpoint), fault func(error)) {
	client := c.client()
	defer client.CloseIdleConnections()
	index := uint64(0)
	watch(ctx, c.String(), func(ctx context.Context) (round, error) {
		began := time.Now()
		r, newer, err := c.look(ctx, client, index)
		index = newer
		r.again = max(0, later(consulPause)-time.Since(began))
		return r, err
	}, send, fault)
}

// look asks once; index is that of the last answer. After an error the next query does
// not block (index 0), so that a recovery is seen at once.
func (c *Consul) look(ctx context.Context, client *http.Client, index uint64) (_ round, newer uint64, _ error) {
	wait := c.Wait
	if wait <= 0 {
		wait = defaultWait
	}
	wait -= rand.N(wait/10 + 1)
	// Consul adds up to a sixteenth of the time by itself.
	response, body, err := c.get(ctx, client, c.query(index, wait), wait+wait/16+c.timeout(), c.token()...)
	if err != nil {
		return round{}, 0, err
	}
	newer, err = newIndex(response.Header.Get("X-Consul-Index"), index)
	if err != nil {
		return round{}, 0, err
	}
	list, err := parseInstances(body, c.zoneMeta(), c.Secure)
	if err != nil {
		return round{}, 0, err
	}
	list, note, err := complete(list, c.AcceptEmpty)
	if err != nil {
		return round{}, 0, err
	}
	return round{list: list, note: note}, newer, nil
}

// query is the URL of a query.
func (c *Consul) query(index uint64, wait time.Duration) string {
	q := url.Values{"passing": {"true"}}
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
	}
	if c.Datacenter != "" {
		q.Set("dc", c.Datacenter)
	}
	for _, tag := range c.Tags {
		q.Add("tag", tag)
	}
	text := q.Encode()
	if c.Stale {
		text += "&stale"
	}
	return strings.TrimSuffix(c.URL, "/") + "/v1/health/service/" + url.PathEscape(c.Service) + "?" + text
}

func (c *Consul) token() []Header {
	if c.Token == "" {
		return nil
	}
	return []Header{{"X-Consul-Token", c.Token}}
}

func (c *Consul) zoneMeta() string {
	if c.ZoneMeta == "" {
		return "zone"
	}
	return c.ZoneMeta
}

// newIndex reads the index of an answer. One that went backwards begins anew, because
// the server has lost its memory; one that is not above 0 would never block.
func newIndex(text string, last uint64) (uint64, error) {
	index, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err != nil:
		return 0, errors.New("its answer has no X-Consul-Index: this is not Consul's API")
	case index < last:
		return 0, nil
	}
	return max(index, 1), nil
}

// instance is what is read of one element of an answer.
type instance struct {
	Node struct {
		Address string
		Meta    map[string]string
	}
	Service struct {
		ID      string
		Address string
		Port    int
		Weights struct{ Passing int }
	}
}

// parseInstances reads an answer of /v1/health/service.
func parseInstances(text []byte, zoneMeta string, secure bool) ([]Endpoint, error) {
	var instances []*instance
	if err := json.Unmarshal(text, &instances); err != nil {
		return nil, notJSON(text, err)
	}
	if instances == nil {
		return nil, errors.New("it answered null: a list is expected")
	}
	list := make([]Endpoint, 0, min(len(instances), MaxEndpoints))
	for i, in := range instances {
		if in == nil {
			return nil, fmt.Errorf("instance %d is null", i+1)
		}
		host := in.Service.Address
		if host == "" {
			host = in.Node.Address
		}
		weight := in.Service.Weights.Passing
		switch {
		case host == "" || in.Service.Port < 1 || in.Service.Port > 65_535:
			return nil, fmt.Errorf("the instance %s has no address or no port", quote(in.Service.ID))
		case weight < 0 || weight > maxWeightConsul:
			return nil, fmt.Errorf("the instance %s has the weight %d: it must be from 0 to %d", quote(in.Service.ID), weight, maxWeightConsul)
		}
		list = append(list, Endpoint{
			Address: net.JoinHostPort(host, strconv.Itoa(in.Service.Port)),
			Secure:  secure,
			Weight:  weight,
			Zone:    in.Node.Meta[zoneMeta],
		})
	}
	scale(list)
	return list, nil
}
