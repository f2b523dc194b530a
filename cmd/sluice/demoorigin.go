package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// demoOrigins are small servers on ports of this machine.
type demoOrigins struct {
	servers   []*http.Server
	listeners []net.Listener
	end       context.CancelFunc
}

// startDemoOrigins starts them, in the order of the ports in the demo's
// configuration.
func startDemoOrigins() (*demoOrigins, error) {
	ctx, end := context.WithCancel(context.Background())
	o := &demoOrigins{end: end}
	for _, handler := range []http.Handler{echoOrigin("orders-1"), echoOrigin("orders-2"), echoOrigin("orders-next"), http.HandlerFunc(streamEvents), http.HandlerFunc(answerLate), http.HandlerFunc(fail)} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			o.stop()
			return nil, fmt.Errorf("demo: an origin: %w", err)
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
		o.servers, o.listeners = append(o.servers, server), append(o.listeners, l)
		go func() { _ = server.Serve(l) }()
	}
	return o, nil
}

func (o *demoOrigins) addresses() []string {
	var all []string
	for _, l := range o.listeners {
		all = append(all, l.Addr().String())
	}
	return all
}

// stop ends every origin and what it is sending.
func (o *demoOrigins) stop() {
	o.end()
	for _, s := range o.servers {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
		cancel()
	}
}

// echoOrigin tells what reached it, and has a catalogue.
func echoOrigin(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/catalogue" {
			_, _ = fmt.Fprintf(w, "[%s{}]\n", strings.Repeat(`{"article":"a thing that repeats itself","price":10},`, 400))
			return
		}
		fields := map[string]string{}
		for name, values := range r.Header {
			fields[name] = strings.Join(values, ", ")
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(struct {
			Origin string            `json:"origin"`
			Method string            `json:"method"`
			Target string            `json:"target"`
			Fields map[string]string `json:"fields"`
		}{name, r.Method, r.RequestURI, fields})
	})
}

// streamEvents sends an event each half second until the client goes.
func streamEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for n := 1; ; n++ {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: {\"tick\": %d}\n\n", n, n); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// fail is an origin that is ill.
func fail(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "not today", http.StatusServiceUnavailable)
}

// answerLate answers later than the gateway waits.
func answerLate(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(3 * time.Second):
		_, _ = fmt.Fprintln(w, "at last")
	case <-r.Context().Done():
	}
}
