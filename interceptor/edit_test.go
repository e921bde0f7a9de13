package interceptor

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func TestEdits(t *testing.T) {
	before := klamm.Record{
		Topic: "orders", Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(5),
		Headers: []klamm.Header{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("3")}, {Key: "c"}},
	}
	hdr := func(keep ...int) []klamm.Header {
		var out []klamm.Header
		for _, i := range keep {
			out = append(out, before.Headers[i])
		}
		return out
	}
	tests := []struct {
		name  string
		edits []runtime.Edit
		want  func(r *klamm.Record)
		err   string
	}{
		{"nothing", nil, func(*klamm.Record) {}, ""},
		{"remove all of a key", []runtime.Edit{{Op: abi.OpRemoveHeaders, Key: []byte("a")}}, func(r *klamm.Record) { r.Headers = hdr(1, 3) }, ""},
		{"remove none", []runtime.Edit{{Op: abi.OpRemoveHeaders, Key: []byte("z")}}, func(*klamm.Record) {}, ""},
		{"remove one", []runtime.Edit{{Op: abi.OpRemoveHeader, Value: u32(1)}}, func(r *klamm.Record) { r.Headers = hdr(0, 2, 3) }, ""},
		{"remove in order", []runtime.Edit{{Op: abi.OpRemoveHeader, Value: u32(0)}, {Op: abi.OpRemoveHeader, Value: u32(0)}}, func(r *klamm.Record) { r.Headers = hdr(2, 3) }, ""},
		{"remove the last one", []runtime.Edit{{Op: abi.OpRemoveHeader, Value: u32(3)}}, func(r *klamm.Record) { r.Headers = hdr(0, 1, 2) }, ""},
		{"replace", []runtime.Edit{{Op: abi.OpRemoveHeaders, Key: []byte("a")}, {Op: abi.OpAddHeader, Key: []byte("a"), Value: []byte{}}}, func(r *klamm.Record) {
			r.Headers = append(hdr(1, 3), klamm.Header{Key: "a", Value: []byte{}})
		}, ""},
		{"null value", []runtime.Edit{{Op: abi.OpSetValue}}, func(r *klamm.Record) { r.Value = nil }, ""},
		{"empty value", []runtime.Edit{{Op: abi.OpSetValue, Value: []byte{}}}, func(r *klamm.Record) { r.Value = []byte{} }, ""},
		{"timestamp", []runtime.Edit{{Op: abi.OpSetTimestamp, Value: u64(77)}}, func(r *klamm.Record) { r.Timestamp = time.UnixMilli(77) }, ""},
		{"partition", []runtime.Edit{{Op: abi.OpSetPartition, Value: u32(4)}}, func(r *klamm.Record) { r.Target = klamm.ToPartition(4) }, ""},
		{"no partition", []runtime.Edit{{Op: abi.OpSetPartition, Value: u32(0xffffffff)}}, func(r *klamm.Record) { r.Target = 0 }, ""},
		{"header out of range", []runtime.Edit{{Op: abi.OpSetKey}, {Op: abi.OpRemoveHeader, Value: u32(4)}}, nil, "edit 2: remove header 4 of 4"},
		{"header far out of range", []runtime.Edit{{Op: abi.OpRemoveHeader, Value: u32(1 << 31)}}, nil, "remove header"},
		{"short header index", []runtime.Edit{{Op: abi.OpRemoveHeader, Value: []byte{1}}}, nil, "4 bytes, got 1"},
		{"negative partition", []runtime.Edit{{Op: abi.OpSetPartition, Value: u32(0xfffffffe)}}, nil, "invalid partition"},
		{"short partition", []runtime.Edit{{Op: abi.OpSetPartition}}, nil, "4 bytes, got 0"},
		{"short timestamp", []runtime.Edit{{Op: abi.OpSetTimestamp, Value: u32(1)}}, nil, "8 bytes, got 4"},
		{"timestamp before 1970", []runtime.Edit{{Op: abi.OpSetTimestamp, Value: u64(1 << 63)}}, nil, "before 1970"},
		{"unknown operation", []runtime.Edit{{Op: 99}}, nil, "unknown operation 99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &fakeSeat{onSend: func(c *fakeCall) error {
				c.edit(0, tt.edits...)
				return nil
			}}
			l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
			b := &Batch{NowMS: nowMS, Items: []Item{{Record: before, Ref: 1}}}
			l.OnSend(context.Background(), b)
			it := &b.Items[0]
			want := before
			if tt.want != nil {
				tt.want(&want)
			}
			if diff := cmp.Diff(want, it.Record); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if (tt.err == "") != (it.Err == nil) || it.Err != nil && !strings.Contains(it.Err.Error(), tt.err) {
				t.Errorf("got error %v, want %q", it.Err, tt.err)
			}
		})
	}
	if len(before.Headers) != 4 || before.Headers[1].Key != "b" {
		t.Errorf("edits wrote into the caller's headers: %v", before.Headers)
	}
}

// What a plugin hands over lies in memory that is reused by its next call.
func TestEditsAreCopied(t *testing.T) {
	view := []byte("first")
	s := &fakeSeat{onSend: func(c *fakeCall) error {
		c.edit(0, runtime.Edit{Op: abi.OpSetValue, Value: view}, runtime.Edit{Op: abi.OpAddHeader, Key: view, Value: view})
		return nil
	}}
	l := chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}})
	b := batchOf("v")
	l.OnSend(context.Background(), b)
	copy(view, "XXXXX")
	rec := &b.Items[0].Record
	if string(rec.Value) != "first" || rec.Headers[0].Key != "first" || string(rec.Headers[0].Value) != "first" {
		t.Errorf("got %q, %v", rec.Value, rec.Headers)
	}
}

func TestArenaKeepsEarlierBytes(t *testing.T) {
	var a arena
	var kept [][]byte
	for i := range 100 {
		kept = append(kept, a.copy([]byte(strings.Repeat(string(rune('a'+i%26)), 200))))
	}
	for i, b := range kept {
		if len(b) != 200 || b[0] != byte('a'+i%26) || b[199] != b[0] {
			t.Fatalf("bytes %d were overwritten: %q", i, b)
		}
	}
	if a.copy(nil) != nil {
		t.Error("nil did not stay nil")
	}
	if e := a.copy([]byte{}); e == nil || len(e) != 0 {
		t.Errorf("empty became %v", e)
	}
	a.reset()
	if len(a.bytes) != 0 || cap(a.bytes) == 0 {
		t.Errorf("after reset: %d of %d bytes", len(a.bytes), cap(a.bytes))
	}
}
