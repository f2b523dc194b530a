// Package compress encodes answers with zstd, br or gzip for clients that understand them.
//
// It follows RFC 9110: §8.4 (content codings), §12.5.3 (Accept-Encoding), §8.8.3.3
// (entity tags of encoded answers).
package compress

import (
	"embed"
	"strings"
	"sync"

	"github.com/sluice-gateway/sluice/internal/meter"
	"github.com/sluice-gateway/sluice/message"
	"github.com/sluice-gateway/sluice/policy"
)

//go:embed README.md schema.json
var files embed.FS

// Kind is the policy compress.
var Kind = policy.Define("compress", policy.Transform, files, build)

// compression is one compress policy.
type compression struct {
	order   []coding
	types   []mediaRange
	minimum int64

	pools         [codings]*sync.Pool
	read, written [codings]*meter.Counter
	local         policy.Local[stream]
}

func build(c *Config, env *policy.Env) (policy.Hooks, error) {
	p := &compression{order: c.Encodings, types: c.Types, minimum: c.MinimumSize.Bytes(), local: policy.NewLocal[stream](env)}
	for _, e := range c.Encodings {
		label := policy.Label{Name: "encoding", Value: e.String()}
		p.pools[e] = newPool(e, c.Level)
		p.read[e] = env.Metrics.Counter("sluice_compress_read_bytes_total", "Bytes of answers before they were compressed", label)
		p.written[e] = env.Metrics.Counter("sluice_compress_written_bytes_total", "Bytes of answers after they were compressed", label)
	}
	return policy.Hooks{OnRequest: p.onRequest, OnResponse: p.onResponse}, nil
}

// onRequest reads what the client wants before policies behind this one change the
// request. The field goes on to the origin: what that encodes itself is not our
// work. It allocates nothing.
func (p *compression) onRequest(x *message.Exchange) message.Verdict {
	s := p.local.At(x)
	s.choice = choose(&x.Request.Header, p.order)
	// A client may ask for no transformations (RFC 9111 §5.2.1.6).
	if s.choice != none && hasToken(&x.Request.Header, "Cache-Control", "no-transform") {
		s.choice = none
	}
	return message.Next
}

// onResponse allocates once where a strong entity tag is made a weak one.
func (p *compression) onResponse(x *message.Exchange) message.Verdict {
	r := &x.Response
	media := mediaType(r.Header.Get("Content-Type"))
	if r.Status == 304 {
		p.notModified(x, media)
		return message.Next
	}
	if !p.concerns(r, media) {
		return message.Next
	}
	vary(&r.Header)
	s := p.local.At(x)
	if s.choice == none || !p.worthwhile(x) {
		return message.Next
	}
	r.Header.Append("Content-Encoding", s.choice.String())
	// Ranges of what is encoded anew each time cannot be asked for.
	r.Header.Del("Accept-Ranges")
	weaken(&r.Header)
	if x.Request.Method == "HEAD" {
		// The head is that of the answer to GET, whose length is not known (RFC 9110 §9.3.2).
		r.CloseBody()
		r.Length = -1
		return message.Next
	}
	p.begin(s, x, message.EqualFold(media, "text/event-stream"))
	return message.Next
}

// begin puts the stream around the body.
func (p *compression) begin(s *stream, x *message.Exchange, events bool) {
	c := s.choice
	*s = stream{
		choice: c,
		inner:  x.Response.Body,
		home:   p.pools[c],
		coder:  p.pools[c].Get().(*coder),
		// What has no length is made while it is sent, and somebody may wait for each part.
		flush:   events || x.Response.Body.Length() < 0,
		read:    p.read[c],
		written: p.written[c],
		shard:   x.Shard,
	}
	s.coder.out = s.coder.out[:0]
	s.coder.encoder.Reset(s.coder)
	x.Response.Body = s
}

// concerns says whether answers like this one depend on Accept-Encoding here.
func (p *compression) concerns(r *message.Response, media string) bool {
	if r.Status < 200 || r.Status == 204 || r.Status == 205 || r.Tunnel != nil {
		return false
	}
	// The origin may forbid transformations (RFC 9110 §7.7, RFC 9111 §5.2.2.6).
	return p.compressible(media) && !hasToken(&r.Header, "Cache-Control", "no-transform")
}

func (p *compression) compressible(media string) bool {
	// gRPC has a compression of its own, message by message.
	const grpc = "application/grpc"
	if media == "" || len(media) >= len(grpc) && message.EqualFold(media[:len(grpc)], grpc) {
		return false
	}
	for i := range p.types {
		if p.types[i].has(media) {
			return true
		}
	}
	return false
}

// worthwhile says whether this answer may be encoded and is long enough: not a
// part of something (RFC 9110 §14.4), not encoded already, and without a digest of
// what it is now (RFC 9530).
func (p *compression) worthwhile(x *message.Exchange) bool {
	r := &x.Response
	length := r.Length
	if r.Body != nil {
		length = r.Body.Length()
	} else if x.Request.Method != "HEAD" {
		return false
	}
	if length >= 0 && length < p.minimum || r.Status == 206 {
		return false
	}
	for i := range r.Header.Fields() {
		name := r.Header.Fields()[i].Name
		for _, fixed := range [...]string{"Content-Encoding", "Content-Range", "Content-Digest", "Repr-Digest", "Digest", "Content-MD5"} {
			if message.EqualFold(name, fixed) {
				return false
			}
		}
	}
	return true
}

// notModified makes a 304 fit the answer that the client has (RFC 9110 §15.4.5):
// the tag of an encoded one was weakened, so where the client showed the weak form
// it gets it back; a strong one would not update what it stored (RFC 9111 §4.3.4).
func (p *compression) notModified(x *message.Exchange, media string) {
	h := &x.Response.Header
	if media == "" || p.compressible(media) {
		vary(h)
	}
	tag := h.Get("ETag")
	if !strong(tag) {
		return
	}
	for i := range x.Request.Header.Fields() {
		f := &x.Request.Header.Fields()[i]
		if !message.EqualFold(f.Name, "If-None-Match") {
			continue
		}
		for from := 0; ; {
			at := strings.Index(f.Value[from:], tag)
			if at < 0 {
				break
			}
			from += at
			if from >= 2 && f.Value[from-2:from] == "W/" {
				h.Set("ETag", f.Value[from-2:from+len(tag)])
				return
			}
			from += len(tag)
		}
	}
}

// weaken marks the entity tag: what we encode twice need not be the same bytes
// (RFC 9110 §8.8.1).
func weaken(h *message.Header) {
	if tag := h.Get("ETag"); strong(tag) {
		h.Set("ETag", "W/"+tag)
	}
}

// strong says whether s is a strong entity tag (RFC 9110 §8.8.3).
func strong(s string) bool { return len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' }

// mediaType is a Content-Type without its parameters.
func mediaType(contentType string) string {
	if i := strings.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return message.TrimOWS(contentType)
}

// hasToken looks into all fields of a name.
func hasToken(h *message.Header, name, token string) bool {
	for i := range h.Fields() {
		f := &h.Fields()[i]
		if message.EqualFold(f.Name, name) && message.HasToken(f.Value, token) {
			return true
		}
	}
	return false
}

// vary says that answers depend on Accept-Encoding (RFC 9110 §12.5.5).
func vary(h *message.Header) {
	if !hasToken(h, "Vary", "Accept-Encoding") && !hasToken(h, "Vary", "*") {
		h.Append("Vary", "Accept-Encoding")
	}
}
