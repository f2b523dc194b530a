package grpcweb

import "github.com/sluice-gateway/sluice/unit"

// Config is what stands behind `grpc_web`.
type Config struct {
	MessageSize unit.Size `yaml:"message_size" default:"4MiB" min:"1B" max:"4095MiB" doc:"The longest message of a request, as it is sent: compressed ones count compressed. Servers usually take no more than 4MiB."`
}
