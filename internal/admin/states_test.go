package admin

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/host"
)

// fakeStates has one state, ids, which knows the id a and has n ids. It fails
// after broken of them.
type fakeStates struct {
	n, broken int
	forgotten int
}

func (f *fakeStates) Info(_ context.Context, name string) ([]host.StateInfo, error) {
	if name != "" && name != "ids" {
		return nil, &host.UnknownStateError{Name: name, Have: []string{"ids"}}
	}
	return []host.StateInfo{{Name: "ids", Entries: int64(f.n)}}, nil
}

func (f *fakeStates) FindID(_ string, q host.StateQuery) ([]host.StateID, error) {
	if string(q.ID) != "a" {
		return []host.StateID{}, nil
	}
	return []host.StateID{{Plugin: q.Plugin, Scope: q.Topic, Status: "remembered"}}, nil
}

func (f *fakeStates) ForgetID(name string, q host.StateQuery) ([]host.StateID, error) {
	if string(q.ID) == "busy" {
		return nil, host.ErrIDInFlight
	}
	f.forgotten++
	return f.FindID(name, q)
}

func (f *fakeStates) EachID(name string, do func(host.StateID) error) error {
	if name != "ids" {
		return fmt.Errorf("state %q: %w", name, host.ErrStateNotShown)
	}
	for i := range f.n {
		if f.broken > 0 && i == f.broken {
			return fmt.Errorf("broken")
		}
		if err := do(host.StateID{Hash: fmt.Sprint(i)}); err != nil {
			return err
		}
	}
	return nil
}

func TestStates(t *testing.T) {
	f := &fakeStates{n: 3}
	s := listen(t, Config{Listen: "127.0.0.1:0", Token: "s3", States: func() States { return f }})
	c, ctx := NewClient(s.Addr(), "s3"), context.Background()
	if got, err := c.States(ctx, ""); err != nil || got.Schema != "klamm.states/1" || got.States[0].Entries != 3 {
		t.Errorf("stats: %+v, error %v", got, err)
	}
	if _, err := c.States(ctx, "isd"); err == nil || !strings.Contains(err.Error(), "there are ids") {
		t.Errorf("unknown: %v", err)
	}
	q := host.StateQuery{ID: []byte("a"), Plugin: "dedup", Topic: "orders"}
	if got, err := c.FindID(ctx, "ids", q); err != nil || len(got.IDs) != 1 || got.IDs[0].Plugin != "dedup" || got.IDs[0].Scope != "orders" {
		t.Errorf("find: %+v, error %v", got, err)
	}
	if got, err := c.ForgetID(ctx, "ids", q); err != nil || len(got.IDs) != 1 || f.forgotten != 1 {
		t.Errorf("forget: %+v, error %v", got, err)
	}
	if _, err := c.ForgetID(ctx, "ids", host.StateQuery{ID: []byte("busy")}); err == nil || !strings.Contains(err.Error(), "in flight") {
		t.Errorf("in flight: %v", err)
	}
	var out bytes.Buffer
	if err := c.ExportIDs(ctx, "ids", &out); err != nil || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("export: %q, error %v", out.String(), err)
	}
	if err := c.ExportIDs(ctx, "redis", &out); err == nil || !strings.Contains(err.Error(), "does not show") {
		t.Errorf("what is not shown: %v", err)
	}
	// A part is never taken for the whole.
	f.n, f.broken = 1000, 500
	if err := c.ExportIDs(ctx, "ids", &out); err == nil {
		t.Error("an export that broke off ended well")
	}
}

func TestIDsAreForgottenWithPermissionOnly(t *testing.T) {
	f := &fakeStates{n: 3}
	s := listen(t, Config{Listen: "127.0.0.1:0", States: func() States { return f }})
	if code, body := get(t, s, request{path: "/v1/states/ids/forget", method: "POST"}); code != http.StatusForbidden || !strings.Contains(body, "unix socket or with a token") {
		t.Errorf("without a token: %d %s", code, body)
	}
	if f.forgotten > 0 {
		t.Error("it was forgotten")
	}
	s = listen(t, Config{Listen: "127.0.0.1:0", Token: "s3", States: func() States { return nil }})
	if code, _ := get(t, s, request{path: "/v1/states", token: "s3"}); code != http.StatusServiceUnavailable {
		t.Errorf("draining: %d", code)
	}
	if code, _ := get(t, s, request{path: "/v1/states"}); code != http.StatusUnauthorized {
		t.Errorf("no token: %d", code)
	}
}
