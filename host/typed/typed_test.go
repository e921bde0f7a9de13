package typed_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/host/typed"
)

// roundTrip: what a serde writes it reads, and it writes the same each time.
func roundTrip[T any](t *testing.T, name string, s typed.Serde[T], gen *rapid.Generator[T], equal func(a, b T) bool) {
	t.Run(name, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			v := gen.Draw(t, "value")
			b, err := s.Serialize(t.Context(), &typed.Field{}, v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Deserialize(t.Context(), &typed.Field{}, b)
			if err != nil || !equal(got, v) {
				t.Fatalf("%v became %x and %v, %v", v, b, got, err)
			}
		})
	})
}

func same[T comparable](a, b T) bool { return a == b }

type order struct {
	ID     string            `json:"id"`
	Amount int64             `json:"amount"`
	Tags   map[string]string `json:"tags,omitempty"`
}

func TestRoundTrips(t *testing.T) {
	roundTrip(t, "bytes", typed.Bytes(), rapid.SliceOf(rapid.Byte()), bytes.Equal)
	roundTrip(t, "string", typed.String(), rapid.String(), same)
	roundTrip(t, "int16", typed.Int16(), rapid.Int16(), same)
	roundTrip(t, "int32", typed.Int32(), rapid.Int32(), same)
	roundTrip(t, "int64", typed.Int64(), rapid.Int64(), same)
	roundTrip(t, "float32", typed.Float32(), rapid.Float32(), same)
	roundTrip(t, "float64", typed.Float64(), rapid.Float64(), same)
	roundTrip(t, "JSON", typed.JSON[order](), rapid.Map(rapid.Int64(), func(n int64) order {
		return order{ID: "é\u2028\"", Amount: n, Tags: map[string]string{"a": ""}}
	}), func(a, b order) bool { return reflect.DeepEqual(a, b) })
	roundTrip(t, "nullable", typed.Nullable(typed.Int32()), rapid.Ptr(rapid.Int32(), true), func(a, b *int32) bool {
		return (a == nil) == (b == nil) && (a == nil || *a == *b)
	})
}

// TestKafkasForms compares with the bytes that Kafka's own serialisers write.
func TestKafkasForms(t *testing.T) {
	ctx, at := t.Context(), &typed.Field{}
	bytesOf := func(b []byte, err error) string { return string(b) }
	for _, tt := range []struct{ name, got, want string }{
		{"ShortSerializer", bytesOf(typed.Int16().Serialize(ctx, at, -2)), "\xff\xfe"},
		{"IntegerSerializer", bytesOf(typed.Int32().Serialize(ctx, at, 1<<24|2)), "\x01\x00\x00\x02"},
		{"LongSerializer", bytesOf(typed.Int64().Serialize(ctx, at, math.MinInt64)), "\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"FloatSerializer", bytesOf(typed.Float32().Serialize(ctx, at, 1)), "\x3f\x80\x00\x00"},
		{"DoubleSerializer", bytesOf(typed.Float64().Serialize(ctx, at, -2)), "\xc0\x00\x00\x00\x00\x00\x00\x00"},
		{"StringSerializer", bytesOf(typed.String().Serialize(ctx, at, "ü")), "\xc3\xbc"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %x, want %x", tt.name, tt.got, tt.want)
		}
	}
	if b, err := typed.Null().Serialize(ctx, at, typed.None{}); b != nil || err != nil {
		t.Errorf("Null: %x, %v", b, err)
	}
	if b, _ := typed.String().Serialize(ctx, at, ""); b == nil {
		t.Error("empty text became null")
	}
}

func TestBadBytes(t *testing.T) {
	ctx, at := t.Context(), &typed.Field{}
	second := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"number too short", second(typed.Int32().Deserialize(ctx, at, []byte{1})), "it has 1 bytes, want 4"},
		{"null number", second(typed.Int64().Deserialize(ctx, at, nil)), "null"},
		{"null text", second(typed.String().Deserialize(ctx, at, nil)), "null"},
		{"no UTF-8", second(typed.String().Deserialize(ctx, at, []byte{0xff})), "not UTF-8"},
		{"no UTF-8 to send", second(typed.String().Serialize(ctx, at, "\xff")), "not UTF-8"},
		{"JSON cut", second(typed.JSON[order]().Deserialize(ctx, at, []byte(`{"id":`))), "unexpected EOF"},
		{"JSON of another type", second(typed.JSON[order]().Deserialize(ctx, at, []byte(`{"id":7}`))), "cannot unmarshal number"},
		{"JSON and more", second(typed.JSON[order]().Deserialize(ctx, at, []byte(`{} {}`))), "more after its end"},
		{"null JSON", second(typed.JSON[order]().Deserialize(ctx, at, nil)), "null"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, tt.err, tt.want)
		}
	}
}

func newHost(t *testing.T) (*hosttest.Host, *host.Producer) {
	t.Helper()
	h := hosttest.New(t, "[cluster]\nbootstrap_servers = [\"embedded\"]\n[cluster.embedded]\ntopics = [\"orders\"]\npartitions = 1\n[consumer]\ngroup_id = \"g\"\n")
	p, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	return h, p
}

// kind marks a record's type in a header, as Kafka's serialisers may.
func kind(of typed.Serde[order]) typed.Serde[order] {
	return typed.Func(func(at *typed.Field, v order) ([]byte, error) {
		at.SetHeader("kind", []byte("order"))
		return of.Serialize(context.Background(), at, v)
	}, func(at *typed.Field, b []byte) (order, error) {
		if k, _ := at.Header("kind"); string(k) != "order" {
			return order{}, errors.New("no header says that it is an order")
		}
		return of.Deserialize(context.Background(), at, b)
	})
}

func TestSendAndRead(t *testing.T) {
	h, p := newHost(t)
	orders := typed.NewProducer(p, typed.Int64(), typed.Nullable(kind(typed.JSON[order]())))
	headers := make([]klamm.Header, 1, 8)
	headers[0] = klamm.Header{Key: "trace", Value: []byte("1")}
	first := &typed.Record[int64, *order]{Topic: "orders", Key: 7, Value: &order{ID: "a", Amount: 3}, Headers: headers, Timestamp: time.UnixMilli(5000)}
	res, err := orders.Send(t.Context(), first)
	if err != nil || res.Offset != 0 || res.Outcome != klamm.Written {
		t.Fatalf("Send = %+v, %v", res, err)
	}
	if len(headers[:2][1].Key) != 0 {
		t.Error("the caller's headers were written to")
	}
	done := make(chan klamm.Result, 1)
	if err := orders.SendAsync(t.Context(), &typed.Record[int64, *order]{Topic: "orders", Key: 8}, func(r klamm.Result) { done <- r }); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.Offset != 1 || r.Err != nil {
		t.Errorf("callback: %+v", r)
	}
	results, err := orders.SendBatch(t.Context(), []typed.Record[int64, *order]{{Topic: "orders", Key: 9, Value: &order{ID: "b"}}, {Topic: "orders", Key: 10}})
	if err != nil || len(results) != 2 || results[1].Offset != 3 {
		t.Errorf("SendBatch = %+v, %v", results, err)
	}

	var got []typed.Record[int64, *order]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = h.Consume(ctx, []string{"orders"}, typed.Handle(typed.Int64(), typed.Nullable(kind(typed.JSON[order]())), func(_ context.Context, r *typed.Record[int64, *order]) error {
		kept := *r
		kept.Headers = slices.Clone(r.Headers) // their memory is used again
		got = append(got, kept)
		if len(got) == 4 {
			cancel()
		}
		return nil
	}))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0].Key != 7 || got[0].Value.Amount != 3 || !got[0].Timestamp.Equal(first.Timestamp) || got[0].Headers[0].Key != "trace" ||
		got[1].Key != 8 || got[1].Value != nil || got[2].Value.ID != "b" || got[3].Offset != 3 {
		t.Errorf("read %+v", got)
	}
}

// TestSerializeErrors: nothing is sent, and the error tells the topic, the field
// and why.
func TestSerializeErrors(t *testing.T) {
	_, p := newHost(t)
	texts := typed.NewProducer(p, typed.String(), typed.String())
	bad := typed.Record[string, string]{Topic: "orders", Key: "k", Value: "\xff"}
	res, err := texts.Send(t.Context(), &bad)
	var te *typed.Error
	if want := `topic "orders": serialize the value: it is not UTF-8; use Bytes`; err == nil || err.Error() != want || !errors.As(err, &te) || te.Key {
		t.Errorf("Send = %v, want %s", err, want)
	}
	if res.Outcome != klamm.Failed || res.Topic != "orders" || res.Err != err || res.Partition != klamm.NoPartition {
		t.Errorf("the result is %+v", res)
	}
	if err := texts.SendAsync(t.Context(), &bad, func(klamm.Result) { t.Error("the callback of a refused record was called") }); !errors.As(err, &te) {
		t.Errorf("SendAsync = %v", err)
	}
	if _, err := texts.Send(t.Context(), nil); err == nil {
		t.Error("nil was sent")
	}
	results, err := texts.SendBatch(t.Context(), []typed.Record[string, string]{{Topic: "orders", Key: "\xff"}, {Topic: "orders", Value: "v"}, {Topic: "or ders"}})
	if results[0].Err == nil || results[1].Err != nil || !errors.Is(results[2].Err, klamm.ErrInvalidTopic) {
		t.Errorf("SendBatch = %+v", results)
	}
	for _, want := range []string{`record 0: topic "orders": serialize the key`, "record 2: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SendBatch = %v, want %s", err, want)
		}
	}
	if c := p.Counts(); c.In != 1 || c.Out != 1 {
		t.Errorf("counted %+v, want one record", c)
	}
}

// TestPoison: a record that cannot be read ends Run, or goes where poison says.
func TestPoison(t *testing.T) {
	h, p := newHost(t)
	raw := typed.NewProducer(p, typed.Null(), typed.Bytes())
	for _, v := range []string{"\x00\x00\x00\x01", "x", "\x00\x00\x00\x02"} {
		if _, err := raw.Send(t.Context(), &typed.Record[typed.None, []byte]{Topic: "orders", Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []int32
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	take := func(_ context.Context, r *typed.Record[typed.None, int32]) error {
		if got = append(got, r.Value); r.Value == 2 {
			cancel()
		}
		return nil
	}
	err := h.Consume(ctx, []string{"orders"}, typed.Handle(typed.Null(), typed.Int32(), take))
	if want := `topic "orders" partition 0 offset 1: deserialize the value: it has 1 bytes, want 4`; err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("Consume = %v, want %s", err, want)
	}
	var poison []int64
	err = h.Consume(ctx, []string{"orders"}, typed.HandlePoison(typed.Null(), typed.Int32(), take, func(_ context.Context, r *klamm.Record, err error) error {
		poison = append(poison, r.Offset)
		return nil
	}))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, []int32{1, 2}) || !reflect.DeepEqual(poison, []int64{1}) {
		t.Errorf("handled %v, poison at %v", got, poison)
	}
}
