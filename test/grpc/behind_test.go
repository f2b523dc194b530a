package grpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-gateway/sluice/test/rig"
)

// The environment that makes this test binary a server that conformance starts: the gateway
// with the reference server behind it.
const (
	behindEnv    = "SLUICE_TEST_BEHIND"    // which chain
	referenceEnv = "SLUICE_TEST_REFERENCE" // the reference server
	complainEnv  = "SLUICE_TEST_COMPLAINT" // a folder for what went wrong: conformance does not look at exit codes
)

// demand is what conformance wants of a server (connectrpc.conformance.v1.ServerCompatRequest).
type demand struct {
	protocol, version uint64 // 1: connect, 2: grpc, 3: grpc-web; 1: HTTP/1.1, 2: HTTP/2, 3: HTTP/3
	tls               bool
	clientAuthorities []byte
	limit             uint64
	certificate, key  []byte
}

func (d *demand) read(data []byte) error {
	return eachField(data, func(number protowire.Number, value []byte, n uint64) error {
		switch number {
		case 1:
			d.protocol = n
		case 2:
			d.version = n
		case 4:
			d.tls = n != 0
		case 5:
			d.clientAuthorities = value
		case 6:
			d.limit = n
		case 7:
			return eachField(value, func(number protowire.Number, value []byte, _ uint64) error {
				if number == 1 {
					d.certificate = value
				} else {
					d.key = value
				}
				return nil
			})
		}
		return nil
	})
}

// bytes is a demand without certificates.
func (d *demand) bytes() []byte {
	var out []byte
	for _, f := range []struct {
		number protowire.Number
		n      uint64
	}{{1, d.protocol}, {2, d.version}, {4, protowire.EncodeBool(d.tls)}, {6, d.limit}} {
		if f.n != 0 {
			out = protowire.AppendVarint(protowire.AppendTag(out, f.number, protowire.VarintType), f.n)
		}
	}
	if d.tls {
		creds := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), d.certificate)
		creds = protowire.AppendBytes(protowire.AppendTag(creds, 2, protowire.BytesType), d.key)
		out = protowire.AppendBytes(protowire.AppendTag(out, 7, protowire.BytesType), creds)
	}
	return out
}

func eachField(data []byte, each func(protowire.Number, []byte, uint64) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var value []byte
		var varint uint64
		switch kind {
		case protowire.VarintType:
			varint, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(data)
		default:
			return fmt.Errorf("field %d has wire type %d", number, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := each(number, value, varint); err != nil {
			return err
		}
	}
	return nil
}

// readMessage and writeMessage are how conformance and servers talk: a length in four
// bytes, the highest one first.
func readMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, data)
	return data, err
}

func writeMessage(w io.Writer, data []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// journalName is how the file ends that has what a gateway has printed.
const journalName = ".log"

// beServer is the life of the process; what goes wrong in it, the test finds in the folder.
func beServer(chain string) int {
	err := standBehind(chain)
	if err == nil {
		return 0
	}
	file := filepath.Join(os.Getenv(complainEnv), strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(file, []byte(err.Error()), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// standBehind does what conformance has started the process for, until it is told to stop.
func standBehind(chain string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	data, err := readMessage(os.Stdin)
	if err != nil {
		return err
	}
	var front demand
	if err := front.read(data); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "sluice-conformance-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	back := front
	back.clientAuthorities = nil
	switch chain {
	case "h2c", "h3":
		back.version, back.tls = 2, false
	case "grpc_web":
		back.protocol, back.version, back.tls = 2, 2, false
	}
	origin, port, err := startReference(&back)
	if err != nil {
		return err
	}
	defer func() { _ = origin.Process.Kill() }()
	gateway, address, err := front.startGateway(folder, chain, &back, port)
	if err != nil {
		return err
	}
	defer gateway.Kill()
	if err := front.announce(address); err != nil {
		return err
	}
	<-stop
	if err := os.WriteFile(filepath.Join(os.Getenv(complainEnv), strconv.Itoa(os.Getpid())+journalName), []byte(gateway.Log()), 0o600); err != nil {
		return err
	}
	if log := gateway.Log(); strings.Contains(log, `"panic"`) || strings.Contains(log, "DATA RACE") {
		return errors.New(log)
	}
	return nil
}

// startReference starts the reference server and returns its port.
func startReference(back *demand) (*exec.Cmd, uint64, error) {
	cmd := exec.Command(os.Getenv(referenceEnv))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	if err := writeMessage(in, back.bytes()); err != nil {
		return cmd, 0, err
	}
	data, err := readMessage(out)
	if err != nil {
		return cmd, 0, err
	}
	var port uint64
	err = eachField(data, func(number protowire.Number, _ []byte, n uint64) error {
		if number == 2 {
			port = n
		}
		return nil
	})
	return cmd, port, err
}

// startGateway starts the gateway before the reference server.
func (d *demand) startGateway(folder, chain string, back *demand, port uint64) (*rig.Gateway, string, error) {
	var addresses [2]string
	for i := range addresses {
		address, err := rig.FreeAddress()
		if err != nil {
			return nil, "", err
		}
		addresses[i] = address
	}
	protocols := [...]string{1: "http/1.1", 2: "h2", 3: "h2, h3"}
	listener := fmt.Sprintf("name: web, address: %q, protocols: [%s]", addresses[1], protocols[d.version])
	if d.tls {
		listener += ", tls: { certificates: [{ certificate: certificate.pem, key: key.pem }]"
		if len(d.clientAuthorities) > 0 {
			listener += ", client_certificates: { authorities: clients.pem, mode: require }"
		}
		listener += " }"
	}
	upstream := fmt.Sprintf("name: reference, endpoints: [%q], protocol: %s", fmt.Sprintf("http://127.0.0.1:%d", port), protocols[back.version])
	if back.tls {
		upstream = strings.Replace(upstream, "http://", "https://", 1) + ", tls: { authorities: certificate.pem, server_name: localhost }"
	}
	policies := ""
	if chain == "grpc_web" {
		policies = ", policies: [{ grpc_web: {} }]"
	}
	for name, text := range map[string]string{
		"certificate.pem": string(d.certificate),
		"key.pem":         string(d.key),
		"clients.pem":     string(d.clientAuthorities),
		"sluice.yaml": fmt.Sprintf("admin: { address: %q }\ntelemetry: { access_log: {} }\nlisteners: [{ %s }]\nupstreams: [{ %s }]\nroutes: [{ name: all, match: { path: \"/**\" }, upstream: reference%s }]\n",
			addresses[0], listener, upstream, policies),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return nil, "", err
		}
	}
	g, err := rig.Start(folder, "sluice.yaml", addresses[0], "", nil)
	if err != nil {
		return nil, "", err
	}
	if err := g.Ready(); err != nil {
		g.Kill()
		return nil, "", fmt.Errorf("%w: %s", err, g.Log())
	}
	return g, addresses[1], nil
}

// announce tells conformance where the gateway is (ServerCompatResponse).
func (d *demand) announce(address string) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return err
	}
	out := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), host)
	out = protowire.AppendVarint(protowire.AppendTag(out, 2, protowire.VarintType), port)
	if d.tls {
		out = protowire.AppendBytes(protowire.AppendTag(out, 3, protowire.BytesType), d.certificate)
	}
	return writeMessage(os.Stdout, out)
}
