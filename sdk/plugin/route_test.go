package plugin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/sdk/abi"
)

// What is said of a partition and what is edited, in any order.
func TestRoutesAndEdits(t *testing.T) {
	route := func(p uint32) func(Record) { return func(r Record) { r.Route(p) } }
	header := func(r Record) { r.AddHeader("h", nil) }
	for _, tc := range []struct {
		name string
		say  []func(Record)
		want string
	}{
		{"nothing", nil, "pass"},
		{"a route", []func(Record){route(3)}, "route 3"},
		{"two routes", []func(Record){route(3), route(4)}, "route 4"},
		{"the highest partition", []func(Record){route(1<<31 - 1)}, "route 2147483647"},
		{"cleared", []func(Record){route(3), Record.ClearPartition}, "route -1"},
		{"route, then an edit", []func(Record){route(3), header}, "edit partition 3, header"},
		{"an edit, then a route", []func(Record){header, route(3)}, "edit header, partition 3"},
		{"an edit, then routes", []func(Record){header, route(3), header, route(4), Record.ClearPartition}, "edit header, header, partition 3, partition 4, partition -1"},
		{"routes around an edit", []func(Record){route(3), header, route(4)}, "edit partition 3, header, partition 4"},
		{"a value in place, then a route", []func(Record){func(r Record) { r.SetValue([]byte("b")) }, route(3)}, "edit value, partition 3"},
		{"taken back", []func(Record){header, route(3), Record.Pass}, "pass"},
		{"taken back, and a route", []func(Record){header, route(3), Record.Pass, route(4)}, "route 4"},
		{"dropped", []func(Record){header, route(3), func(r Record) { r.Drop(Filtered) }}, "drop"},
		{"a route for a dropped one", []func(Record){func(r Record) { r.Drop(Filtered) }, route(3)}, "drop"},
		{"no room for the route", []func(Record){func(r Record) { r.AddHeader(strings.Repeat("h", 470), nil) }, route(3)}, "not done"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := openBatch(t, testBlock(512, "a", "b"))
			for _, say := range tc.say {
				say(b.At(0))
				b.At(1).Route(7)
			}
			b.finish()
			got := said(b, 0)
			if b.full == 0 {
				if got = "not done"; b.At(0).verdict() != 0 || b.At(1).verdict() != 0 {
					t.Errorf("verdicts %x and %x are left behind a full area", b.At(0).verdict(), b.At(1).verdict())
				}
			} else if other := said(b, 1); other != "route 7" && len(tc.say) > 0 {
				t.Errorf("the other record: %s", other)
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// said puts a verdict into words.
func said(b *Batch, i int) string {
	v := b.At(i).verdict()
	switch v.Code() {
	case abi.Route:
		return fmt.Sprintf("route %d", int32(v.Arg()))
	case abi.Edit:
	default:
		return v.Code().String()
	}
	var ops []string
	at := v.Arg() + abi.EditHeaderSize
	for range u32(b.b, v.Arg()) {
		switch op := abi.Op(u16(b.b, at+abi.EditOp)); op {
		case abi.OpSetPartition:
			ops = append(ops, fmt.Sprintf("partition %d", i32(b.b, at+abi.EditEntrySize)))
		case abi.OpSetValue:
			ops = append(ops, "value")
		case abi.OpAddHeader:
			ops = append(ops, "header")
		default:
			ops = append(ops, fmt.Sprint(op))
		}
		at += u32(b.b, at+abi.EditTotal)
	}
	return "edit " + strings.Join(ops, ", ")
}
