package http2

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestTwinClientBodies(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, echo)
	tr := g.transport()
	for _, size := range []int{0, 1, 100, 16383, 16384, 16385, 65535, 65536, 300_000, 3_000_000} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d %v", size, known), func(t *testing.T) {
				want := pattern(size)
				var body io.Reader = bytes.NewReader(want)
				if !known {
					body = io.MultiReader(body, strings.NewReader(""))
				}
				resp, got := get(t, tr, "POST", g.url("/a/b?c=d"), body)
				if resp.StatusCode != 200 || !bytes.Equal(got, want) {
					t.Fatalf("status %d, %d bytes", resp.StatusCode, len(got))
				}
				if m, target := resp.Header.Get("X-Method"), resp.Header.Get("X-Target"); m != "POST" || target != "/a/b?c=d" {
					t.Errorf("method %q, target %q", m, target)
				}
			})
		}
	}
}

func TestTwinClientManyAtOnce(t *testing.T) {
	t.Parallel()
	g := serve(t, Limits{}, echo)
	tr := g.transport()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			want := pattern(i * 997)
			resp, got := get(t, tr, "PUT", g.url("/"), bytes.NewReader(want))
			if resp.StatusCode != 200 || !bytes.Equal(got, want) {
				t.Errorf("%d: status %d, %d bytes", i, resp.StatusCode, len(got))
			}
		})
	}
	all.Wait()
}
