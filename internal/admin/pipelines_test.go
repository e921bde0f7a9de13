package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/host"
)

// fakePipelines has one pipeline, p.
type fakePipelines struct{ paused bool }

func (f *fakePipelines) Pipelines() []host.PipelineInfo {
	return []host.PipelineInfo{{Name: "p", Paused: f.paused}}
}

func (f *fakePipelines) set(name string, on bool) error {
	if name != "p" {
		return fmt.Errorf("pipeline %q: %w", name, host.ErrUnknownPipeline)
	}
	f.paused = on
	return nil
}

func (f *fakePipelines) PausePipeline(name string) error  { return f.set(name, true) }
func (f *fakePipelines) ResumePipeline(name string) error { return f.set(name, false) }

func TestPipelines(t *testing.T) {
	f := &fakePipelines{}
	s := listen(t, Config{Listen: "127.0.0.1:0", Token: "s3", Pipelines: func() Pipelines { return f }})
	c := NewClient(s.Addr(), "s3")
	ctx := context.Background()
	if got, err := c.PausePipeline(ctx, "p"); err != nil || !f.paused || !got.Pipelines[0].Paused {
		t.Errorf("pause: %+v, error %v", got, err)
	}
	if got, err := c.ResumePipeline(ctx, "p"); err != nil || f.paused || got.Pipelines[0].Paused {
		t.Errorf("resume: %+v, error %v", got, err)
	}
	if _, err := c.PausePipeline(ctx, "q"); err == nil || !strings.Contains(err.Error(), `pipeline "q"`) {
		t.Errorf("unknown: error %v", err)
	}
	if got, err := c.Pipelines(ctx); err != nil || got.Schema != "klamm.pipelines/1" || len(got.Pipelines) != 1 {
		t.Errorf("list: %+v, error %v", got, err)
	}
}

// TestPipelinesArePausedWithPermissionOnly: a loopback port alone is open to
// every program on the machine.
func TestPipelinesArePausedWithPermissionOnly(t *testing.T) {
	f := &fakePipelines{}
	s := listen(t, Config{Listen: "127.0.0.1:0", Pipelines: func() Pipelines { return f }})
	if code, body := get(t, s, request{path: "/v1/pipelines/p/pause", method: "POST"}); code != http.StatusForbidden || !strings.Contains(body, "unix socket or with a token") {
		t.Errorf("without a token: %d %s", code, body)
	}
	s = listen(t, Config{Listen: "127.0.0.1:0", Token: "s3", Pipelines: func() Pipelines { return f }})
	if code, _ := get(t, s, request{path: "/v1/pipelines/p/pause", method: "POST"}); code != http.StatusUnauthorized {
		t.Errorf("wrong token: %d", code)
	}
	if f.paused {
		t.Error("it was paused")
	}
	s = listen(t, Config{Listen: "127.0.0.1:0", Token: "s3", Pipelines: func() Pipelines { return nil }})
	if code, _ := get(t, s, request{path: "/v1/pipelines", token: "s3"}); code != http.StatusServiceUnavailable {
		t.Errorf("draining: %d", code)
	}
}
