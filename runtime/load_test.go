package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/runtime/guard"
	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

func TestLoadRefusals(t *testing.T) {
	e := newEngine(t)
	importing := func(names ...string) *w.Guest {
		g := new(w.Guest)
		for _, n := range names {
			hostImport(g, n)
		}
		g.EachRecord(abi.OnSend, 0)
		return g
	}
	with := func(change func(g *w.Guest)) *w.Guest {
		g := dropAll()
		change(g)
		return g
	}
	answer := func(v abi.InitResult) *w.Guest {
		return with(func(g *w.Guest) { g.Init = w.I64Const(int64(v)) })
	}
	var none [abi.HookCount]abi.Fields
	for _, tc := range []struct {
		name  string
		guest *w.Guest
		cfg   PluginConfig
		want  []string
	}{
		{"grants", importing(abi.ImportClaim, abi.ImportStatePut, abi.ImportLog, abi.ImportNowNS, abi.ImportValue), PluginConfig{Grants: GrantClock},
			[]string{`capability "log" is not granted; the module imports log`, `capability "state" is not granted; the module imports claim, state_put`, "2 problems"}},
		{"digest", dropAll(), PluginConfig{SHA256: strings.Repeat("0", 64)}, []string{"sha256 is", "the configuration demands 0000"}},
		{"memory of the module", with(func(g *w.Guest) { g.Pages = 20 }), PluginConfig{MemoryMax: 1 << 20}, []string{"starts with 1280 KiB", "allows 1024 KiB"}},
		{"memory of the configuration", dropAll(), PluginConfig{MemoryMax: 100}, []string{"memory of 100 bytes", "multiple of 64 KiB"}},
		{"too much memory", dropAll(), PluginConfig{MemoryMax: 128 << 20}, []string{"at most 64 MiB"}},
		{"output limit", dropAll(), PluginConfig{OutputMax: 5}, []string{"output limit of 5 bytes"}},
		{"init answers an error", answer(abi.PackInit(0, none, 9)), PluginConfig{}, []string{"klamm_init", "error code 9"}},
		{"init wants nothing", answer(abi.PackInit(0, none, 0)), PluginConfig{}, []string{"wants no hook"}},
		{"init wants what is not there", answer(abi.PackInit(abi.OnCommit.Mask(), none, 0)), PluginConfig{}, []string{"wants on_commit", "exports no klamm_on_commit"}},
		{"init wants what does not exist", answer(abi.PackInit(1|1<<9, none, 0)), PluginConfig{}, []string{"unknown hooks 0x200"}},
		{"init traps", with(func(g *w.Guest) { g.Init = w.Unreachable }), PluginConfig{}, []string{"klamm_init", "unreachable"}},
		{"start traps", with(func(g *w.Guest) { g.Start(g.Func("", nil, nil, nil, w.Unreachable)) }), PluginConfig{}, []string{"start function", "unreachable"}},
		{"_initialize traps", with(func(g *w.Guest) { g.Func(abi.ExportInitialize, nil, nil, nil, w.Unreachable) }), PluginConfig{}, []string{"_initialize", "unreachable"}},
		{"manifest is no JSON", with(func(g *w.Guest) { g.Custom(abi.ManifestSection, []byte("{")) }), PluginConfig{}, []string{"klamm.manifest", "JSON"}},
		{"manifest", with(func(g *w.Guest) {
			g.Custom(abi.ManifestSection, []byte(`{"state":"disk","min_minor":7,"capabilities":["fly"]}`))
		}), PluginConfig{}, []string{`state "disk"`, "version 1.7", `unknown capability "fly"`, "3 problems"}},
		{"manifest of the configuration", dropAll(), PluginConfig{Manifest: []byte(`{"state":"disk"}`)}, []string{`state "disk"`}},
		{"config larger than the memory", dropAll(), PluginConfig{MemoryMax: 128 << 10, Config: make([]byte, 1<<20)}, []string{"klamm_alloc"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Name = "p"
			p := e.NewPlugin(tc.cfg)
			err := p.Load(context.Background(), tc.guest.Bytes())
			as[*LoadError](t, err)
			wantProblem(t, err, append(tc.want, `"p"`)...)
			if text := err.Error(); !strings.HasPrefix(text, `plugin "p": `) || strings.Count(text, `"p"`) != 1 {
				t.Errorf("the plugin is not named once, in front: %s", text)
			}
			if IsFault(err) || p.Active() != nil {
				t.Errorf("fault %v, active %v", IsFault(err), p.Active())
			}
			if n := e.MemoryReserved(); n != 0 {
				t.Errorf("%d bytes of memory are left", n)
			}
		})
	}
}

func TestGuardsErrorComesThrough(t *testing.T) {
	err := newEngine(t).NewPlugin(PluginConfig{Name: "p"}).Load(context.Background(), []byte("#!/bin/sh"))
	as[*guard.Error](t, err)
}

func TestBadCodeIsRefusedByTheGuard(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, 0, w.I32Const(1)) // an i32 where an i64 must be
	_, err := newEngine(t).Compile(context.Background(), "m", g.Bytes())
	as[*guard.Error](t, err)
	wantProblem(t, err, `"klamm_on_send"`, "operands i32, must be i64")
}

func TestModuleFacts(t *testing.T) {
	e := newEngine(t)
	g := new(w.Guest)
	hostImport(g, abi.ImportValue)
	hostImport(g, abi.ImportClaim)
	hostImport(g, abi.ImportClaim)
	g.EachRecord(abi.OnSend, abi.FieldKey)
	g.EachRecord(abi.Partition, 0)
	g.Custom(abi.ManifestSection, []byte(`{"name":"n","version":"1.2","license":"MIT","protects":true,"capabilities":["state"],"config_schema":{"a":1},"new":0}`))
	wasm := g.Bytes()
	m, err := e.Compile(context.Background(), "m", wasm)
	if err != nil {
		t.Fatal(err)
	}
	if m.Hooks() != abi.OnSend.Mask()|abi.Partition.Mask() || m.Size() != len(wasm) || m.Digest() != Digest(wasm) {
		t.Errorf("hooks %b, %d bytes, digest %s", m.Hooks(), m.Size(), m.Digest())
	}
	if got := fmt.Sprint(m.Imports()); got != "[klamm.claim klamm.value]" {
		t.Errorf("imports %s", got)
	}
	want := "{n 1.2 MIT 0 none true [state] {\"a\":1}}"
	man := m.Manifest()
	if got := fmt.Sprintf("{%s %s %s %d %s %v %v %s}", man.Name, man.Version, man.License, man.MinMinor, man.State, man.Protects, man.Capabilities, man.ConfigSchema); got != want {
		t.Errorf("manifest %s, want %s", got, want)
	}
	for range 2 {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// The guest copies its init block to where the test finds it.
func TestInitBlock(t *testing.T) {
	g := dropAll()
	g.Pages = 2
	g.Init = w.Seq(
		kept(70000, w.LocalGet(0)), kept(70004, w.LocalGet(1)),
		w.I64Const(int64(abi.PackInit(g.Hooks, g.Fields, 0))))
	p := load(t, newEngine(t), g, PluginConfig{Name: "dedup", ClientID: "client-7", Config: []byte(`{"window":"10m"}`)})
	s, err := p.Seat(context.Background(), SeatConfig{Chain: "quakes", Topics: []string{"a", "bcd"}, Lane: 2, Lanes: 5, Host: newFakeHost()})
	if err != nil {
		t.Fatal(err)
	}
	blk := peek(t, s, uint32(peek32(t, s, 70000)), uint32(peek32(t, s, 70004)))
	part := func(pair int) string {
		off, n := le.Uint32(blk[pair:]), le.Uint32(blk[pair+4:])
		return string(blk[off : off+n])
	}
	if le.Uint32(blk[abi.InitMinor:]) != abi.Minor || le.Uint32(blk[abi.InitLane:]) != 2 || le.Uint32(blk[abi.InitLanes:]) != 5 {
		t.Errorf("header %x", blk[:16])
	}
	got := []string{part(abi.InitConfig), part(abi.InitPlugin), part(abi.InitChain), part(abi.InitClientID), part(abi.InitTopics)}
	want := []string{`{"window":"10m"}`, "dedup", "quakes", "client-7", "\x01\x00\x00\x00a\x03\x00\x00\x00bcd"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFieldsAndHooksOfAGeneration(t *testing.T) {
	g := dropAll(abi.OnSend, abi.OnConsume)
	g.Init = w.I64Const(int64(abi.PackInit(abi.OnSend.Mask(), [abi.HookCount]abi.Fields{abi.OnSend: abi.FieldKey | abi.FieldLoad}, 0)))
	gen := load(t, newEngine(t), g, PluginConfig{}).Active()
	if gen.Hooks != abi.OnSend.Mask() || gen.Fields(abi.OnSend) != abi.FieldKey|abi.FieldLoad || gen.Fields(abi.OnConsume) != 0 || gen.Number != 1 {
		t.Errorf("got %+v", gen)
	}
	if gen.Module.Hooks() != abi.OnSend.Mask()|abi.OnConsume.Mask() {
		t.Errorf("the module exports %b", gen.Module.Hooks())
	}
}

func TestErrorThatTheGuestExplains(t *testing.T) {
	g := dropAllWith(func(g *w.Guest) []byte {
		return w.Seq(consts(3, 100, 20), w.Call(hostImport(g, abi.ImportLog)))
	})
	g.Init = w.Seq(g.Init[:len(g.Init)-len(w.I64Const(int64(abi.PackInit(g.Hooks, g.Fields, 0))))], w.I64Const(int64(abi.PackInit(0, g.Fields, 5))))
	g.Data(100, []byte("window: not a number"))
	err := newEngine(t).NewPlugin(PluginConfig{Name: "p", Grants: GrantLog}).Load(context.Background(), g.Bytes())
	wantProblem(t, err, "error code 5: window: not a number")
}

// A seat whose answer differs from that of the test instance: the guest wants
// other fields in lane 1.
func TestAnswerThatDependsOnTheLane(t *testing.T) {
	g := dropAll()
	g.Init = w.Seq(w.LocalGet(0), w.I32Load(abi.InitLane), w.I64ExtendU, w.I64Const(int64(abi.PackInit(g.Hooks, [abi.HookCount]abi.Fields{}, 0))), w.I64Or)
	p := load(t, newEngine(t), g, PluginConfig{})
	sit(t, p, newFakeHost())
	_, err := p.Seat(context.Background(), SeatConfig{Lane: 1, Lanes: 2, Host: newFakeHost()})
	as[*LoadError](t, err)
	wantProblem(t, err, "lane 1")
}

func TestSeatOfAPluginWithoutAModule(t *testing.T) {
	e := newEngine(t)
	p := e.NewPlugin(PluginConfig{Name: "p"})
	if _, err := p.Seat(context.Background(), SeatConfig{Host: newFakeHost()}); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("got %v", err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := p.Load(context.Background(), dropAll().Bytes()); !errors.Is(err, ErrClosed) {
		t.Errorf("load after close: %v", err)
	}
	if _, err := p.Seat(context.Background(), SeatConfig{Host: newFakeHost()}); !errors.Is(err, ErrClosed) {
		t.Errorf("seat after close: %v", err)
	}
}

func TestMemoryOfAllInstancesTogether(t *testing.T) {
	e, err := NewEngine(context.Background(), EngineConfig{MemoryTotal: 40 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	p := load(t, e, dropAll(), PluginConfig{})
	sit(t, p, newFakeHost())
	sit(t, p, newFakeHost())
	if n := e.MemoryReserved(); n != 32<<20 {
		t.Errorf("%d bytes reserved", n)
	}
	_, err = p.Seat(context.Background(), SeatConfig{Host: newFakeHost()})
	wantProblem(t, err, "memory of all instances would be", "limit is 41943040")
	if n := e.MemoryReserved(); n != 32<<20 {
		t.Errorf("%d bytes reserved after the refusal", n)
	}
}

func TestMemoryStartsZero(t *testing.T) {
	g := new(w.Guest)
	g.Hook(abi.OnSend, 0, w.I32Const(500), w.I32Load(0), w.If, w.Unreachable, w.End,
		w.I32Const(500), w.I32Const(77), w.I32Store(0), w.I64Const(0))
	e := newEngine(t)
	p := load(t, e, g, PluginConfig{})
	for range 5 {
		s := sit(t, p, newFakeHost())
		judge(t, s, abi.OnSend, keyed(1, 0))
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestGrantNames(t *testing.T) {
	for _, name := range []string{"log", "metrics", "state", "clock", "random", "hmac"} {
		g, ok := ParseGrant(name)
		if !ok || !bytes.Equal([]byte(strings.Join(g.Names(), ",")), []byte(name)) || !GrantAll.Has(g) {
			t.Errorf("%s: %b, %v, %v", name, g, ok, g.Names())
		}
	}
	if _, ok := ParseGrant("files"); ok {
		t.Error("files can be granted")
	}
}
