package rig

import (
	"fmt"
	"strconv"
	"strings"
)

// connectionFields are those that only HTTP/1 has (RFC 9113 §8.2.2, RFC 9114 §4.2).
var connectionFields = []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}

// portable says whether a head can be sent over HTTP/2 and HTTP/3.
func (h Head) portable() error {
	for _, name := range connectionFields {
		if Values(h.Fields, name) != nil {
			return fmt.Errorf("%s can be sent over HTTP/1 only: begin the line with [http1]", name)
		}
	}
	return nil
}

// section is a head as HTTP/2 and HTTP/3 spell it.
func (h Head) section(scheme string) []Field {
	fields := []Field{{":status", strconv.Itoa(h.Status)}}
	if h.Method != "" {
		authority := strings.Join(Values(h.Fields, "Host"), ", ")
		fields = []Field{{":method", h.Method}, {":scheme", scheme}, {":authority", authority}, {":path", h.Target}}
	}
	for _, f := range h.Fields {
		if name := strings.ToLower(f.Name); name != "host" {
			fields = append(fields, Field{name, f.Value})
		}
	}
	return fields
}

// newMessage makes a message of what came over HTTP/2 or HTTP/3: its line says what
// HTTP/1 would say, and is empty where the fields are trailers. A Cookie that came in
// crumbs is put together (RFC 9113 §8.2.3, RFC 9114 §4.2.1).
func newMessage(section []Field, request bool, version string) (*Message, error) {
	m := &Message{Framing: "none"}
	pseudo, cookie := map[string]string{}, -1
	for _, f := range section {
		switch {
		case strings.HasPrefix(f.Name, ":"):
			if _, twice := pseudo[f.Name]; twice || len(m.Fields) > 0 {
				return nil, fmt.Errorf("%s came twice, or behind a field", f.Name)
			}
			pseudo[f.Name] = f.Value
			continue
		case f.Name != strings.ToLower(f.Name):
			return nil, fmt.Errorf("the gateway sent %s in upper case over HTTP/%s", f.Name, version)
		case Values([]Field{f}, "te") != nil && f.Value != "trailers":
			return nil, fmt.Errorf("the gateway sent TE: %s over HTTP/%s", f.Value, version)
		case f.Name == "cookie" && cookie >= 0:
			m.Fields[cookie].Value += "; " + f.Value
			continue
		case f.Name == "cookie":
			cookie = len(m.Fields)
		}
		m.Fields = append(m.Fields, f)
	}
	for _, name := range connectionFields {
		if Values(m.Fields, name) != nil {
			return nil, fmt.Errorf("the gateway sent %s over HTTP/%s", name, version)
		}
	}
	switch {
	case len(pseudo) == 0:
	case request:
		m.Line = pseudo[":method"] + " " + pseudo[":path"] + " HTTP/" + version
		m.Fields = append([]Field{{"Host", pseudo[":authority"]}}, m.Fields...)
	default:
		m.Line = "HTTP/" + version + " " + pseudo[":status"]
	}
	return m, nil
}
