package faultinjection

import (
	"errors"
	"fmt"

	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/unit"
)

// Config is what stands behind `fault_injection`.
type Config struct {
	Delay     *Delay     `yaml:"delay" doc:"Holds requests back, as a slow origin would."`
	Abort     *Abort     `yaml:"abort" doc:"Answers with an error in the place of the origin."`
	Reset     *Reset     `yaml:"reset" doc:"Cuts the connection, or resets the stream, without an answer."`
	Bandwidth *Bandwidth `yaml:"bandwidth" doc:"Sends the body of answers slowly."`
	Seed      int64      `yaml:"seed" min:"0" doc:"Makes shares and ranges the same in each run: the same requests in the same order meet the same faults. 0 is another number each time."`
}

// Delay holds requests back.
type Delay struct {
	Time   unit.Duration `yaml:"time" required:"true" min:"1ms" max:"5m" doc:"How long."`
	To     unit.Duration `yaml:"to" max:"5m" doc:"Makes it a range: from time to this, evenly spread."`
	Share  unit.Share    `yaml:"share" default:"100%" min:"0.0001%" doc:"How many of the requests meet it."`
	Header *Header       `yaml:"header" doc:"Only requests with this field meet it."`
}

// Validate is called once the settings are filled.
func (d *Delay) Validate() error {
	if d.To != 0 && d.To < d.Time {
		return unit.Problem("to", fmt.Sprintf("a range from %s to %s is empty: write the shorter one as time", d.Time, d.To))
	}
	return nil
}

// Abort answers with an error.
type Abort struct {
	Status     int        `yaml:"status" default:"503" min:"400" max:"599" doc:"The status of the answer, which is a problem with the code fault_injected."`
	GRPCStatus GRPCStatus `yaml:"grpc_status" doc:"The status with which calls of gRPC and gRPC-Web are answered. Where it is absent, the one that fits status."`
	Share      unit.Share `yaml:"share" default:"100%" min:"0.0001%" doc:"How many of the requests meet it."`
	Header     *Header    `yaml:"header" doc:"Only requests with this field meet it."`
}

// Validate is called once the settings are filled.
func (a *Abort) Validate() error {
	if a.Status == message.ClientGone.Status {
		return unit.Problem("status", "499 is never sent: to cut the connection write reset")
	}
	return nil
}

// Reset cuts the connection.
type Reset struct {
	Share  unit.Share `yaml:"share" default:"100%" min:"0.0001%" doc:"How many of the requests meet it."`
	Header *Header    `yaml:"header" doc:"Only requests with this field meet it."`
}

// Bandwidth sends bodies slowly.
type Bandwidth struct {
	Rate   unit.Size  `yaml:"rate" required:"true" min:"1B" max:"1GiB" doc:"Bytes of the body in a second, as they leave: after compression."`
	Share  unit.Share `yaml:"share" default:"100%" min:"0.0001%" doc:"How many of the requests meet it."`
	Header *Header    `yaml:"header" doc:"Only requests with this field meet it."`
}

// Header is a field that a request must have.
type Header struct {
	Name  string `yaml:"name" required:"true" doc:"The name of the field."`
	Value string `yaml:"value" doc:"Its value, exactly. Where it is absent, any value will do."`
}

// Validate is called once the settings are filled.
func (h *Header) Validate() error {
	if !message.ValidName(h.Name) {
		return unit.Problem("name", fmt.Sprintf("%q is not the name of a field: write one such as x-fault", h.Name))
	}
	return nil
}

// Validate is called once the settings are filled.
func (c *Config) Validate() error {
	if c.Delay == nil && c.Abort == nil && c.Reset == nil && c.Bandwidth == nil {
		return errors.New("there is no fault to inject: write delay, abort, reset or bandwidth, such as { abort: { status: 503, share: 1% } }")
	}
	return nil
}
