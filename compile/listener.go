package compile

import (
	"net/netip"
	"strconv"

	"github.com/sluice-gateway/sluice/config"
	"github.com/sluice-gateway/sluice/engine"
	"github.com/sluice-gateway/sluice/listen"
	"github.com/sluice-gateway/sluice/route"
	"github.com/sluice-gateway/sluice/wire/http1"
)

func itoa(n int) string { return strconv.Itoa(n) }

func listenSpec(l *config.Listener) listen.Spec {
	return listen.Spec{
		Name:           l.Name.Value,
		Address:        l.Address.String(),
		MaxConnections: l.Limits.Connections,
		Limits: http1.Limits{
			RequestLine:     int(l.Limits.RequestLine.Bytes()),
			HeaderBytes:     int(l.Limits.HeaderBytes.Bytes()),
			HeaderFields:    l.Limits.HeaderFields,
			TrailerBytes:    int(l.Limits.TrailerBytes.Bytes()),
			ChunkExtension:  int(l.Limits.ChunkExtension.Bytes()),
			Requests:        l.Limits.RequestsPerConnection,
			MinimumBodyRate: l.MinimumBodyRate.Bytes(),
			HeadTimeout:     l.Timeouts.Head.Std(),
			IdleTimeout:     l.Timeouts.Idle.Std(),
			BodyTimeout:     l.Timeouts.Body.Std(),
			WriteTimeout:    l.Timeouts.Write.Std(),
		},
	}
}

func engineListener(l *config.Listener) engine.Listener {
	e := engine.Listener{
		Name: l.Name.Value,
		Normalize: route.NormalizeOptions{
			KeepEncodedSlash: l.EncodedSlash == "keep",
			MergeSlashes:     l.MergeSlashes,
		},
		KeepUnderscores: l.Underscores == "keep",
		TrustedProxies:  make([]netip.Prefix, 0, len(l.TrustedProxies)),
	}
	for _, network := range l.TrustedProxies {
		e.TrustedProxies = append(e.TrustedProxies, network.Prefix)
	}
	return e
}
