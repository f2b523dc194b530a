package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/unit"
)

// demoConfig is a configuration that can be run as it is, but for its origins: they
// are 127.0.0.1:3001 and so on, in the order of demoOrigins.
//
//go:embed demo/sluice.yaml
var demoConfig string

const (
	demoAddress = "127.0.0.1:8080"
	demoSecure  = "127.0.0.1:8443"
	demoAdmin   = "127.0.0.1:9901"
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway with origins of its own, and tell what to try",
		Long: `Run a gateway in front of origins that live inside this process, and print
requests to try. Nothing is written to disk that stays.`,
		Example: "  sluice demo\n  sluice demo --print-config > sluice.yaml",
		Args:    exactly(0),
	}
	address := addressFlag(c, "address", demoAddress, "where the gateway listens")
	secure := addressFlag(c, "secure", demoSecure, "where the gateway listens with TLS")
	admin := addressFlag(c, "admin", demoAdmin, "where the admin listener is")
	printConfig := c.Flags().Bool("print-config", false, "print the configuration of the demo and end")
	c.RunE = func(c *cobra.Command, _ []string) error {
		at := demoAddresses{address.String(), secure.String(), admin.String()}
		if *printConfig {
			_, err := io.WriteString(c.OutOrStdout(), demoText(at, nil))
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return demo(ctx, c.OutOrStdout(), c.ErrOrStderr(), at)
	}
	return c
}

// addressFlag adds a flag whose value is an address.
func addressFlag(c *cobra.Command, name, fallback, usage string) *unit.Address {
	var a unit.Address
	_ = a.UnmarshalText([]byte(fallback)) // The fallbacks are constants above.
	c.Flags().Var(addressValue{&a}, name, usage)
	return &a
}

type addressValue struct{ *unit.Address }

func (v addressValue) Type() string          { return "address" }
func (v addressValue) Set(word string) error { return v.UnmarshalText([]byte(word)) }

// demoAddresses are where a demo listens.
type demoAddresses struct{ address, secure, admin string }

// demo runs until ctx is done.
func demo(ctx context.Context, out, errOut io.Writer, at demoAddresses) error {
	d, err := startDemo(errOut, at)
	if err != nil {
		return err
	}
	d.tour(newPaint(out))
	<-ctx.Done()
	d.stop()
	return nil
}

// runningDemo is a gateway with its origins.
type runningDemo struct {
	gateway       *gateway
	origins       *demoOrigins
	demoAddresses // as they are bound
}

// startDemo starts the origins and the gateway. The error of an address that is taken
// says what to do.
func startDemo(errOut io.Writer, at demoAddresses) (*runningDemo, error) {
	origins, err := startDemoOrigins()
	if err != nil {
		return nil, err
	}
	doc, err := loadText(demoText(at, origins.addresses()))
	if err != nil {
		origins.stop()
		return nil, err
	}
	level := new(slog.LevelVar)
	level.Set(slog.LevelError + 1) // An address that is taken is told below.
	g := newGateway(slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level})))
	if err := g.apply(doc, nil); err != nil {
		origins.stop()
		return nil, explainTaken(err, at)
	}
	level.Set(slog.LevelWarn)
	open := g.sockets.Status()
	return &runningDemo{g, origins, demoAddresses{open[0].Address, open[1].Address, g.admin.Addr().String()}}, nil
}

// stop ends the origins first, so that streams end by themselves.
func (d *runningDemo) stop() {
	d.origins.stop()
	d.gateway.shutdown()
}

// demoText is the configuration with the addresses in use.
func demoText(at demoAddresses, origins []string) string {
	words := []string{demoAddress, at.address, demoSecure, at.secure, demoAdmin, at.admin}
	for i, origin := range origins {
		words = append(words, fmt.Sprintf("127.0.0.1:%d", 3001+i), origin)
	}
	return strings.NewReplacer(words...).Replace(demoConfig)
}

// loadText loads a configuration that is in no file.
func loadText(text string) (*config.Document, error) {
	dir, err := os.MkdirTemp("", "sluice-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return config.Load(path, nil)
}

// explainTaken says which address is taken and how to choose another.
func explainTaken(err error, at demoAddresses) error {
	var taken *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &taken) || taken.Addr == nil {
		return err
	}
	flag := "--admin"
	switch taken.Addr.String() {
	case at.address:
		flag = "--address"
	case at.secure:
		flag = "--secure"
	}
	return fmt.Errorf("the address %s is taken: end what listens there, or choose another, such as %s 127.0.0.1:0 for any free port", taken.Addr, flag)
}
