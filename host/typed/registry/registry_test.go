package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/host/typed"
	"github.com/klamm-io/klamm/host/typed/registry"
)

type order struct {
	ID     string `avro:"id" json:"id"`
	Amount int64  `avro:"amount" json:"amount"`
}

const (
	orderV1 = `{"type":"record","name":"Order","namespace":"com.shop","fields":[{"name":"id","type":"string"},{"name":"amount","type":"long"}]}`
	orderV2 = `{"type":"record","name":"Order","namespace":"com.shop","fields":[{"name":"note","type":"string"},{"name":"id","type":"string"},{"name":"amount","type":"long"}]}`
	orderV3 = `{"type":"record","name":"Order","namespace":"com.shop","fields":[{"name":"id","type":"string"},{"name":"amount","type":"long"},{"name":"currency","type":"string","default":"EUR"}]}`

	orderJSON = `{"title":"Order","type":"object","properties":{"id":{"type":"string"}}}`
)

// start returns a registry in the test, and a client of it.
func start(t *testing.T, set ...func(*registry.Config)) (*srfake.Registry, *registry.Client) {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	cfg := registry.Config{URLs: []string{fake.URL()}, AutoRegister: true}
	for _, f := range set {
		f(&cfg)
	}
	c, err := registry.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return fake, c
}

func noRegister(c *registry.Config) { c.AutoRegister = false }

func must[T any](s typed.Serde[T], err error) typed.Serde[T] {
	if err != nil {
		panic(err)
	}
	return s
}

func roundTrip[T any](t *testing.T, s typed.Serde[T], v T, equal func(a, b T) bool) []byte {
	t.Helper()
	at := &typed.Field{Topic: "orders"}
	b, err := s.Serialize(t.Context(), at, v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Deserialize(t.Context(), at, b)
	if err != nil || !equal(got, v) {
		t.Fatalf("%v became %x and %v, %v", v, b, got, err)
	}
	return b
}

func TestRoundTrips(t *testing.T) {
	_, c := start(t)
	same := func(a, b order) bool { return a == b }
	v := order{"ö-1", -5}
	if b := roundTrip(t, must(registry.Avro[order](c, orderV1)), v, same); string(b) != "\x00\x00\x00\x00\x01\x08ö-1\x09" {
		t.Errorf("Avro: %x", b)
	}
	roundTrip(t, must(registry.AvroFor[order](mustClient(t))), v, same)
	roundTrip(t, must(registry.Avro[string](mustClient(t), `"string"`)), "text", func(a, b string) bool { return a == b })
	roundTrip(t, must(registry.JSON[order](mustClient(t), orderJSON)), v, same)

	// The first message of a file is written as a zero, others by their path.
	d := must(registry.Protobuf[*durationpb.Duration](mustClient(t), `syntax = "proto3"; message Duration { int64 seconds = 1; int32 nanos = 2; }`))
	if b := roundTrip(t, d, durationpb.New(time.Second), equalMessages); string(b[5:]) != "\x00\x08\x01" {
		t.Errorf("Protobuf: %x", b)
	}
	w := must(registry.Protobuf[*wrapperspb.Int64Value](mustClient(t), `syntax = "proto3"; message A {} message B {} message Int64Value { int64 value = 1; }`))
	if b := roundTrip(t, w, wrapperspb.Int64(7), equalMessages); string(b[5:7]) != "\x02\x04" {
		t.Errorf("Protobuf: %x", b)
	}
	nested := must(registry.Protobuf[*descriptorpb.DescriptorProto_ExtensionRange](mustClient(t), `syntax = "proto2"; message X {}`))
	roundTrip(t, nested, &descriptorpb.DescriptorProto_ExtensionRange{Start: proto.Int32(3)}, func(a, b *descriptorpb.DescriptorProto_ExtensionRange) bool { return proto.Equal(a, b) })
}

func equalMessages[T proto.Message](a, b T) bool { return proto.Equal(a, b) }

func mustClient(t *testing.T) *registry.Client {
	_, c := start(t)
	return c
}

// TestSubjects: each strategy asks for its subject, a key for another than a value.
func TestSubjects(t *testing.T) {
	for _, tt := range []struct {
		subject registry.Subject
		key     bool
		want    string
	}{
		{nil, false, "orders-value"}, {registry.TopicName, true, "orders-key"},
		{registry.RecordName, false, "com.shop.Order"}, {registry.TopicRecordName, true, "orders-com.shop.Order"},
	} {
		fake, c := start(t, func(c *registry.Config) { c.Subject = tt.subject })
		s := must(registry.Avro[order](c, orderV1))
		if _, err := s.Serialize(t.Context(), &typed.Field{Topic: "orders", Key: tt.key}, order{}); err != nil {
			t.Fatal(err)
		}
		if !fake.SubjectExists(tt.want) {
			t.Errorf("subject %q does not exist", tt.want)
		}
	}
}

// TestAsksOnce: however many goroutines send, the registry is asked once for each
// subject and id.
func TestAsksOnce(t *testing.T) {
	fake, c := start(t)
	var requests atomic.Int64
	fake.Intercept(func(http.ResponseWriter, *http.Request) bool { requests.Add(1); return false })
	s := must(registry.Avro[order](c, orderV1))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				at := &typed.Field{Topic: "orders"}
				b, err := s.Serialize(t.Context(), at, order{ID: "a"})
				if err == nil {
					_, err = s.Deserialize(t.Context(), at, b)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := requests.Load(); n > 4 { // sr asks three times to register
		t.Errorf("%d requests, want at most 4", n)
	}
}

// TestEvolution: what a writer with another version wrote is read.
func TestEvolution(t *testing.T) {
	fake, c := start(t)
	if err := fake.SetCompat("orders-value", sr.CompatNone); err != nil {
		t.Fatal(err)
	}
	at := &typed.Field{Topic: "orders"}
	newer := must(registry.Avro[map[string]any](c, orderV2))
	b, err := newer.Serialize(t.Context(), at, map[string]any{"note": "n", "id": "a", "amount": int64(3)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := must(registry.Avro[order](c, orderV1)).Deserialize(t.Context(), at, b)
	if err != nil || got != (order{"a", 3}) {
		t.Errorf("an unknown field: %+v, %v", got, err)
	}
	v3 := must(registry.Avro[map[string]any](c, orderV3))
	m, err := v3.Deserialize(t.Context(), at, b)
	if err != nil || m["currency"] != "EUR" {
		t.Errorf("a field with a default: %+v, %v", m, err)
	}
	if _, err := must(registry.Avro[string](c, `"string"`)).Deserialize(t.Context(), at, b); err == nil || !strings.Contains(err.Error(), "schema 1: read it") {
		t.Errorf("an incompatible schema: %v", err)
	}
}

// TestReferences: a schema may use types of other subjects.
func TestReferences(t *testing.T) {
	fake, c := start(t)
	seed := func(subject string, s sr.Schema) int {
		id, _, err := fake.RegisterSchema(subject, s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	seed("money", sr.Schema{Schema: `{"type":"record","name":"Money","fields":[{"name":"cents","type":"long"}]}`})
	id := seed("bill", sr.Schema{
		Schema:     `{"type":"record","name":"Bill","fields":[{"name":"total","type":"Money"}]}`,
		References: []sr.SchemaReference{{Name: "Money", Subject: "money", Version: 1}},
	})
	type money struct {
		Cents int64 `avro:"cents"`
	}
	type bill struct {
		Total money `avro:"total"`
	}
	whole := `{"type":"record","name":"Bill","fields":[{"name":"total","type":{"type":"record","name":"Money","fields":[{"name":"cents","type":"long"}]}}]}`
	got, err := must(registry.Avro[bill](c, whole)).Deserialize(t.Context(), &typed.Field{}, []byte{0, 0, 0, 0, byte(id), 84})
	if err != nil || got.Total.Cents != 42 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestErrors reads each error as a user would: it names the subject or the schema,
// what was tried, and what to do.
func TestErrors(t *testing.T) {
	_, c := start(t, noRegister)
	at := &typed.Field{Topic: "orders"}
	avro := must(registry.Avro[order](c, orderV1))
	second := func(_ any, err error) error { return err }
	read := func(b ...byte) error { return second(avro.Deserialize(t.Context(), at, b)) }

	fake, full := start(t)
	fullAvro := must(registry.Avro[order](full, orderV1))
	good := roundTrip(t, fullAvro, order{"a", 1}, func(a, b order) bool { return a == b })
	jsonID, _, err := fake.RegisterSchema("j", sr.Schema{Schema: orderJSON, Type: sr.TypeJSON})
	if err != nil {
		t.Fatal(err)
	}
	wrapped := must(registry.Protobuf[*wrapperspb.Int64Value](full, `syntax = "proto3"; message A {}`))

	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"schema not there", second(avro.Serialize(t.Context(), at, order{})), `subject "orders-value": look up the AVRO schema (it is not there: register it, or set AutoRegister)`},
		{"id not there", read(0, 0, 0, 0, 9, 2), "schema 9: get it: "},
		{"null", read(), "typed.Nullable"},
		{"no id", read(0, 1), "it has no schema id in front (2 bytes, starting with 0001)"},
		{"plain text", read([]byte("hello world")...), "it has no schema id in front (11 bytes, starting with 68656c6c6f)"},
		{"cut", second(fullAvro.Deserialize(t.Context(), at, good[:6])), "schema 1: "},
		{"more than there should be", second(fullAvro.Deserialize(t.Context(), at, append(good, 0))), "1 bytes are left after the value"},
		{"another language", second(fullAvro.Deserialize(t.Context(), at, []byte{0, 0, 0, 0, byte(jsonID), '{', '}'})), "it is JSON, want AVRO"},
		{"another message", second(wrapped.Deserialize(t.Context(), at, []byte{0, 0, 0, 0, 1, 0})), "it is message [0] of its file, want [2] (google.protobuf.Int64Value)"},
		{"a long way to the message", second(wrapped.Deserialize(t.Context(), at, []byte{0, 0, 0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f})), "the message's place in its file"},
		{"bad Avro", second(registry.Avro[order](c, `{"type":"recrd"}`)), "avro schema: "},
		{"bad JSON schema", second(registry.JSON[order](c, `{`)), "JSON schema: "},
		{"no .proto", second(registry.Protobuf[*wrapperspb.Int64Value](c, "")), `protobuf schema of "google.protobuf.Int64Value": it is empty`},
		{"no registry", second(registry.NewClient(registry.Config{})), "no URL is given"},
	} {
		if tt.name == "null" {
			tt.err = second(avro.Deserialize(t.Context(), at, nil))
		}
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, tt.err, tt.want)
		}
	}
	var se *registry.SchemaError
	if err := second(avro.Serialize(t.Context(), at, order{})); !errors.As(err, &se) || se.Subject != "orders-value" {
		t.Errorf("%v is no SchemaError of the subject", err)
	}
}

// TestRegistryDown: a failure is not kept, and a registry that hangs is waited for
// no longer than the caller wants, by all who ask.
func TestRegistryDown(t *testing.T) {
	fake, c := start(t)
	var mode atomic.Int32
	release := make(chan struct{})
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch mode.Load() {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			json.NewEncoder(w).Encode(map[string]any{"error_code": 503, "message": "starting"})
			return true
		case 2:
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		return false
	})
	s := must(registry.Avro[order](c, orderV1))
	at := &typed.Field{Topic: "orders"}
	mode.Store(1)
	if _, err := s.Serialize(t.Context(), at, order{}); err == nil || !strings.Contains(err.Error(), "starting") || !strings.Contains(err.Error(), `"orders-value"`) {
		t.Errorf("while it is down: %v", err)
	}
	mode.Store(2)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := s.Serialize(ctx, at, order{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while it hangs: %v", err)
			}
		})
	}
	all.Wait()
	close(release)
	mode.Store(0)
	if _, err := s.Serialize(t.Context(), at, order{}); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// TestThroughKafka sends and reads Avro through a host; a chain's plugins and the
// log see the wire format.
func TestThroughKafka(t *testing.T) {
	_, c := start(t)
	h := hosttest.New(t, "[cluster]\nbootstrap_servers = [\"embedded\"]\n[cluster.embedded]\ntopics = [\"orders\"]\npartitions = 1\n[consumer]\ngroup_id = \"g\"\n")
	p, err := h.Producer()
	if err != nil {
		t.Fatal(err)
	}
	key, value := must(registry.Avro[string](c, `"string"`)), typed.Nullable(must(registry.Avro[order](c, orderV1)))
	orders := typed.NewProducer(p, key, value)
	sent := []typed.Record[string, *order]{{Topic: "orders", Key: "a", Value: &order{"a", 1}}, {Topic: "orders", Key: "a"}}
	if _, err := orders.SendBatch(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	if raw := h.Consumed("orders"); raw[0].Value[0] != 0 || raw[1].Value != nil {
		t.Errorf("the log holds %x and %x", raw[0].Value, raw[1].Value)
	}
	// A record that is none of ours tells its place, topic and schema.
	if _, err := p.Send(t.Context(), &klamm.Record{Topic: "orders", Key: []byte("\x00\x00\x00\x00\x63")}); err != nil {
		t.Fatal(err)
	}
	var got []*order
	err = h.Consume(t.Context(), []string{"orders"}, typed.Handle(key, value, func(_ context.Context, r *typed.Record[string, *order]) error {
		got = append(got, r.Value)
		return nil
	}))
	if want := `topic "orders" partition 0 offset 2: deserialize the key: schema 99: get it: `; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Consume = %v, want %s", err, want)
	}
	if !reflect.DeepEqual(got, []*order{{"a", 1}, nil}) {
		t.Errorf("read %+v", got)
	}
}

// FuzzDeserialize: no bytes panic, or take more memory than in proportion.
func FuzzDeserialize(f *testing.F) {
	fake := srfake.New()
	f.Cleanup(fake.Close)
	c, err := registry.NewClient(registry.Config{URLs: []string{fake.URL()}, AutoRegister: true})
	if err != nil {
		f.Fatal(err)
	}
	list := must(registry.Avro[[]order](c, `{"type":"array","items":`+orderV1+`}`))
	message := must(registry.Protobuf[*descriptorpb.FileDescriptorProto](c, `syntax = "proto2"; message A {}`))
	at := &typed.Field{Topic: "t"}
	b, err := list.Serialize(context.Background(), at, []order{{"a", 1}, {"b", 2}})
	if err != nil {
		f.Fatal(err)
	}
	at.Key = true
	m, err := message.Serialize(context.Background(), at, &descriptorpb.FileDescriptorProto{Name: proto.String("x")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(m)
	f.Add(append(b[:5:5], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)) // an array of 2^62
	f.Add(append(m[:5:5], 0xfe, 0xff, 0xff, 0xff, 0x0f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 5 && (b[1] != 0 || b[2] != 0 || b[3] != 0 || b[4] > 2) {
			b[1], b[2], b[3], b[4] = 0, 0, 0, b[4]%3 // no question to the registry for each
		}
		_, _ = list.Deserialize(t.Context(), at, b)
		_, _ = message.Deserialize(t.Context(), at, b)
	})
}
