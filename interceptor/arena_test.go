package interceptor

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// edited sends n records through a plugin that answers each with the same edits.
func edited(t *testing.T, n int, edits ...runtime.Edit) *Batch {
	t.Helper()
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		for i := range c.verdicts {
			c.edit(i, edits...)
		}
		return nil
	}}
	b := batchOf(slices.Repeat([]string{"v"}, n)...)
	chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}}).OnSend(context.Background(), b)
	return b
}

// Records may share the bytes of an edit, so what a call returns bounds nothing.
func TestEditsOfABatchAreBounded(t *testing.T) {
	big := make([]byte, 1<<20)
	for name, e := range map[string]runtime.Edit{
		"value":        {Op: abi.OpSetValue, Value: big},
		"key":          {Op: abi.OpSetKey, Value: big},
		"header":       {Op: abi.OpAddHeader, Key: []byte("h"), Value: big},
		"header's key": {Op: abi.OpAddHeader, Key: big},
	} {
		t.Run(name, func(t *testing.T) {
			b := edited(t, 100, e)
			failed := 0
			for i := range b.Items {
				if it := &b.Items[i]; it.Outcome == klamm.Failed {
					failed++
					if !strings.Contains(it.Err.Error(), "take more than 32 MiB") {
						t.Fatalf("got %v", it.Err)
					}
				}
			}
			if failed < 68 || failed > 70 {
				t.Errorf("%d of 100 records failed, want 69", failed)
			}
			if b.Reset(); !b.arena.room(arenaMost) {
				t.Error("the room is not given back")
			}
		})
	}
}

// No deadline sees the time that edits take here.
func TestRemovalsOfManyHeadersAreBounded(t *testing.T) {
	edits := slices.Concat(
		slices.Repeat([]runtime.Edit{{Op: abi.OpAddHeader, Key: []byte("h")}}, 30_000),
		slices.Repeat([]runtime.Edit{{Op: abi.OpRemoveHeaders, Key: []byte("x")}}, 30_000),
	)
	it := &edited(t, 1, edits...).Items[0]
	if it.Outcome != klamm.Failed || !strings.Contains(it.Err.Error(), "too many headers are removed") {
		t.Errorf("outcome %v, %v", it.Outcome, it.Err)
	}
	if len(it.Record.Headers) != 0 {
		t.Errorf("the record was left with %d headers", len(it.Record.Headers))
	}
}
