package runtime

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/sdk/abi"
	"pgregory.net/rapid"
)

// encoded is the block as a guest gets it, in a buffer that has been used.
func encoded(b *Block) []byte {
	b.seal()
	dst := make([]byte, b.size()+4096)
	for i := range dst {
		dst[i] = 0xee
	}
	b.encode(dst, b.layout(len(dst), 4096))
	return dst
}

// dump reads a block as a guest must: stepping by the sizes in the headers.
func dump(t testing.TB, blk []byte) string {
	t.Helper()
	u32 := func(off int) int { return int(le.Uint32(blk[off:])) }
	var out strings.Builder
	magic := string(blk[:4])
	fmt.Fprintf(&out, "%s now=%d mod=%d\n", magic, le.Uint64(blk[abi.BatchNowMS:]), u32(abi.BatchModCap))
	if got := blk[abi.BatchReserved:abi.BatchDone]; !bytes.Equal(got, make([]byte, len(got))) {
		t.Errorf("reserved bytes: %x", got)
	}
	if u32(abi.BatchModOff)%8 != 0 || u32(abi.BatchModOff)+u32(abi.BatchModCap) > len(blk) || u32(abi.BatchDone) != 0 {
		t.Errorf("modification area of %d at %d of %d", u32(abi.BatchModCap), u32(abi.BatchModOff), len(blk))
	}
	names := make([]string, u32(abi.BatchTopicsCount))
	for i := range names {
		e := u32(abi.BatchTopicsOff) + i*abi.TopicEntrySize
		at, n := u32(e+abi.TopNameOff), u32(e+abi.TopNameLen)
		names[i] = string(blk[at : at+n])
		fmt.Fprintf(&out, "topic %s partitions=%d epoch=%d", names[i], u32(e+abi.TopPartitions), u32(e+abi.TopEpoch))
		if off := u32(e + abi.TopAvailOff); off != 0 {
			fmt.Fprintf(&out, " avail=%03b", blk[off])
		}
		for p := range u32(e + abi.TopPartitions) {
			if off := u32(e + abi.TopLoadOff); off != 0 {
				fmt.Fprintf(&out, " load=%d", u32(off+4*p))
			}
		}
		out.WriteByte('\n')
	}
	rec := u32(abi.BatchRecOff)
	for i := range u32(abi.BatchCount) {
		if v := le.Uint64(blk[u32(abi.BatchVerdictOff)+i*8:]); v != 0 {
			t.Errorf("verdict %d is %x", i, v)
		}
		dumpRecord(t, &out, blk[rec:], names, magic == "KLA1")
		rec += u32(rec + abi.RecSize)
	}
	if rec != u32(abi.BatchModOff) {
		t.Errorf("records end at %d, the modification area begins at %d", rec, u32(abi.BatchModOff))
	}
	return out.String()
}

func dumpRecord(t testing.TB, out *strings.Builder, r []byte, names []string, ack bool) {
	t.Helper()
	u32 := func(off int) int { return int(le.Uint32(r[off:])) }
	if u32(abi.RecSize)%8 != 0 {
		t.Errorf("record of %d bytes", u32(abi.RecSize))
	}
	r = r[:u32(abi.RecSize)]
	flags := le.Uint32(r[abi.RecFlags:])
	fmt.Fprintf(out, "%s/%d@%d ref=%d ts=%d flags=%d key=%s", names[u32(abi.RecTopic)], int32(u32(abi.RecPartition)),
		int64(le.Uint64(r[abi.RecOffset:])), le.Uint64(r[abi.RecRef:]), le.Uint64(r[abi.RecTimestamp:]), flags&^unknownFlag,
		field(r, u32(abi.RecKeyOff), int32(u32(abi.RecKeyLen))))
	if flags&abi.FlagValueOmitted != 0 {
		fmt.Fprintf(out, " value omitted len=%d", u32(abi.RecValueLen))
	} else {
		fmt.Fprintf(out, " value=%s", field(r, u32(abi.RecValueOff), int32(u32(abi.RecValueLen))))
	}
	n := int(le.Uint16(r[abi.RecHeaderCount:]))
	if flags&abi.FlagHeadersOmitted != 0 {
		fmt.Fprintf(out, " %d headers omitted", n)
	} else if n > 0 {
		fmt.Fprintf(out, " %s", readHeaders(r, r[u32(abi.RecHeadersOff):], n))
	}
	if ack {
		a := r[len(r)-abi.AckEntrySize:]
		fmt.Fprintf(out, " err=%d ackflags=%d us=%d reason=%d plugin=%d", int32(le.Uint32(a)), le.Uint32(a[abi.AckFlags:]),
			le.Uint32(a[abi.AckLatencyUS:]), le.Uint32(a[abi.AckReason:]), le.Uint16(a[abi.AckPlugin:]))
	}
	out.WriteByte('\n')
}

func field(r []byte, off int, n int32) string {
	if n < 0 {
		return "null"
	}
	return fmt.Sprintf("%q", r[off:off+int(n)])
}

// readHeaders reads a table whose offsets count from the start of base.
func readHeaders(base, table []byte, n int) string {
	var out strings.Builder
	for i := range n {
		e := table[i*abi.HeaderEntrySize:]
		key := int(le.Uint32(e[abi.HdrKeyOff:]))
		fmt.Fprintf(&out, "%s=%s ", base[key:key+int(le.Uint32(e[abi.HdrKeyLen:]))],
			field(base, int(le.Uint32(e[abi.HdrValueOff:])), int32(le.Uint32(e[abi.HdrValueLen:]))))
	}
	return out.String()
}

const everyField = abi.FieldKey | abi.FieldValue | abi.FieldHeaders | abi.FieldTimestamp | abi.FieldTopicFacts | abi.FieldLoad

func sample(b *Block, fields abi.Fields, ack bool) {
	b.Reset(fields, 1234, ack)
	orders := b.AddTopic("orders", 3, 7, []bool{true, false, true}, []uint32{5, 0, 9})
	if b.AddTopic("orders", 3, 7, nil, nil) != orders {
		panic("the same topic got two indexes")
	}
	other := b.AddTopic("o", 1, 1, nil, nil)
	b.Add(Head{Topic: orders, Partition: -1, Offset: -1, TimestampMS: 11, Ref: 1, Key: []byte("k"), Value: []byte("value"), Headers: 2})
	b.AddHeader("trace", []byte("abc"))
	b.AddHeader("null", nil)
	if ack {
		b.SetAck(-1, abi.AckDropped|abi.AckRetried, 250, 16, 3)
	}
	b.Add(Head{Topic: other, Partition: 2, Offset: 77, TimestampMS: 12, Ref: 2, Key: []byte{}, Flags: abi.FlagTransactional})
}

func TestBlockAsTheGuestReadsIt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fields abi.Fields
		ack    bool
		want   string
	}{
		{"everything", everyField, false, `KLB1 now=1234 mod=4096
topic orders partitions=3 epoch=7 avail=101 load=5 load=0 load=9
topic o partitions=1 epoch=1
orders/-1@-1 ref=1 ts=11 flags=0 key="k" value="value" trace="abc" null=null 
o/2@77 ref=2 ts=12 flags=8 key="" value=null
`},
		{"nothing", 0, false, `KLB1 now=1234 mod=4096
topic orders partitions=0 epoch=0
topic o partitions=0 epoch=0
orders/-1@-1 ref=1 ts=0 flags=3 key=null value omitted len=5 2 headers omitted
o/2@77 ref=2 ts=0 flags=8 key=null value=null
`},
		{"acknowledgement", abi.FieldKey, true, `KLA1 now=1234 mod=4096
topic orders partitions=0 epoch=0
topic o partitions=0 epoch=0
orders/-1@-1 ref=1 ts=0 flags=3 key="k" value omitted len=5 2 headers omitted err=-1 ackflags=3 us=250 reason=16 plugin=3
o/2@77 ref=2 ts=0 flags=8 key="" value=null err=0 ackflags=0 us=0 reason=0 plugin=0
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b Block
			sample(&b, tc.fields, tc.ack)
			plain := dump(t, encoded(&b))
			if plain != tc.want {
				t.Errorf("got\n%swant\n%s", plain, tc.want)
			}
			b.Stretched = true
			sample(&b, tc.fields, tc.ack)
			stretched := encoded(&b)
			if h, r := le.Uint16(stretched[abi.BatchSize:]), le.Uint16(stretched[abi.BatchRecordSize:]); h != 72 || r != 80 || stretched[64] != 0xa5 {
				t.Errorf("stretched headers of %d and %d bytes", h, r)
			}
			got := strings.Replace(dump(t, stretched), "topic  partitions=0 epoch=0\n", "", 1)
			if got != plain {
				t.Errorf("stretched, it reads\n%sand not\n%s", got, plain)
			}
		})
	}
}

func TestBlockKeepsNothingOfTheLastOne(t *testing.T) {
	var b, fresh Block
	sample(&b, everyField, true)
	b.seal()
	for _, x := range []*Block{&b, &fresh} {
		x.Retry = true
		x.Reset(abi.FieldKey, 5, false)
		x.Add(Head{Topic: x.AddTopic("x", 1, 1, nil, nil), Key: []byte("a")})
	}
	got, want := encoded(&b), encoded(&fresh)
	if string(got) != string(want) || b.Retry {
		t.Errorf("a block that was used encodes as\n%q and not\n%q", got, want)
	}
}

func TestValuesThatDoNotFit(t *testing.T) {
	var b Block
	b.Reset(abi.FieldKey|abi.FieldValue, 0, false)
	topic := b.AddTopic("t", 1, 1, nil, nil)
	if b.Fits(2 << 20) {
		t.Error("2 MiB fit")
	}
	b.Add(Head{Topic: topic, Value: make([]byte, 2<<20)})
	b.Add(Head{Topic: topic, Value: []byte("small")})
	got := dump(t, encoded(&b))
	for _, want := range []string{"value omitted len=2097152", `value="small"`} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%swithout %s", got, want)
		}
	}
	if b.Full() {
		t.Error("full")
	}
	b.Add(Head{Topic: topic, Value: make([]byte, blockRoom-b.size()-b.recSize-abi.VerdictSize)})
	if !b.Full() {
		t.Errorf("not full at %d bytes", b.size())
	}
	if n := b.size() + modMin; n > abi.BlockMax {
		t.Errorf("block of %d bytes", n)
	}
}

func TestHeadersThatDoNotFit(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers int
		size    int
		omitted bool
	}{
		{"a few", 3, 100, false},
		{"many bytes", 3, 100 << 10, true},
		{"many", 20_000, 0, true},
		{"more than 16 bits count", 70_000, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b Block
			b.Reset(abi.FieldHeaders, 0, false)
			b.Add(Head{Topic: b.AddTopic("t", 1, 1, nil, nil), Headers: tc.headers})
			for range tc.headers {
				b.AddHeader("k", make([]byte, tc.size))
			}
			b.Add(Head{Ref: 99})
			got := dump(t, encoded(&b))
			if omitted := strings.Contains(got, "headers omitted"); omitted != tc.omitted {
				t.Errorf("headers omitted: %v, want %v", omitted, tc.omitted)
			}
			if !strings.Contains(got, "ref=99") {
				t.Error("the next record is lost")
			}
		})
	}
}

func TestBlockPanicsOnMisuse(t *testing.T) {
	for name, f := range map[string]func(b *Block){
		"unknown topic":        func(b *Block) { b.Add(Head{Topic: 1}) },
		"too few headers":      func(b *Block) { b.Add(Head{Headers: 1}); b.Add(Head{}) },
		"too many headers":     func(b *Block) { b.Add(Head{}); b.AddHeader("k", nil) },
		"ack of a plain block": func(b *Block) { b.Add(Head{}); b.SetAck(0, 0, 0, 0, 0) },
		"too many records": func(b *Block) {
			for range abi.BatchMax + 1 {
				b.Add(Head{})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			var b Block
			b.Reset(0, 0, false)
			b.AddTopic("t", 0, 0, nil, nil)
			f(&b)
		})
	}
}

func TestFullAtTheLargestCount(t *testing.T) {
	b := keyed(abi.BatchMax-1, abi.FieldKey)
	if b.Full() {
		t.Error("full before the largest count")
	}
	b.Add(Head{})
	if !b.Full() || b.Fits(0) || b.Len() != abi.BatchMax {
		t.Error("not full at the largest count")
	}
}

func TestKeysOfABlock(t *testing.T) {
	var b Block
	sample(&b, abi.FieldKey, false)
	if string(b.Key(0)) != "k" || b.Key(1) == nil || len(b.Key(1)) != 0 {
		t.Errorf("keys %q, %q", b.Key(0), b.Key(1))
	}
	sample(&b, abi.FieldValue, false)
	if b.Key(0) != nil {
		t.Errorf("key %q was not asked for", b.Key(0))
	}
}

// Whatever is added reads back as it was, whatever was in the block before.
func TestBlockRoundTrip(t *testing.T) {
	var b Block
	rapid.Check(t, func(t *rapid.T) {
		b.Stretched = rapid.Bool().Draw(t, "stretched")
		b.Reset(everyField, 1, rapid.Bool().Draw(t, "ack"))
		topic := b.AddTopic("t", 2, 1, []bool{true, true}, nil)
		var want strings.Builder
		bytesOrNull := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 40))
		for i := range rapid.IntRange(1, 20).Draw(t, "records") {
			h := Head{
				Topic: topic, Partition: int32(i), Offset: int64(i), TimestampMS: int64(i), Ref: uint64(i),
				Key: bytesOrNull.Draw(t, "key"), Value: bytesOrNull.Draw(t, "value"), Headers: rapid.IntRange(0, 4).Draw(t, "headers"),
			}
			fmt.Fprintf(&want, "t/%d@%d ref=%d ts=%d flags=0 key=%s value=%s", i, i, i, i, quoted(h.Key), quoted(h.Value))
			b.Add(h)
			for n := range h.Headers {
				if n == 0 {
					want.WriteByte(' ')
				}
				key, value := rapid.StringN(0, 10, 20).Draw(t, "header"), bytesOrNull.Draw(t, "header value")
				b.AddHeader(key, value)
				fmt.Fprintf(&want, "%s=%s ", key, quoted(value))
			}
			if b.ack {
				want.WriteString(" err=0 ackflags=0 us=0 reason=0 plugin=0")
			}
			want.WriteByte('\n')
		}
		var fake testing.T
		got := dump(&fake, encoded(&b))
		if !strings.HasSuffix(got, "\n"+want.String()) || fake.Failed() {
			t.Fatalf("got\n%s\nwant\n%s", got, want.String())
		}
	})
}

func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}
