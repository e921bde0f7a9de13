package typed_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/host/hosttest"
	"github.com/klamm-io/klamm/host/typed"
)

type reading struct {
	Sensor string  `json:"sensor"`
	Value  float64 `json:"value"`
}

// Records of Go types are sent and read. Plugins in between see their bytes.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h, err := host.New(host.Config{
		Cluster:  host.ClusterConfig{BootstrapServers: []string{"embedded"}},
		Consumer: host.ConsumerConfig{GroupID: "readers"},
	}, host.WithEmbedded(hosttest.Embedded))
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close(context.Background())
	p, err := h.Producer()
	if err != nil {
		log.Fatal(err)
	}
	readings := typed.NewProducer(p, typed.String(), typed.JSON[reading]())
	for _, r := range []reading{{"attic", 21.5}, {"cellar", 9}} {
		if _, err := readings.Send(ctx, &typed.Record[string, reading]{Topic: "readings", Key: "house", Value: r}); err != nil {
			log.Fatal(err)
		}
	}
	err = h.Consume(ctx, []string{"readings"}, typed.Handle(typed.String(), typed.JSON[reading](), func(_ context.Context, r *typed.Record[string, reading]) error {
		fmt.Printf("%s %s %.1f\n", r.Key, r.Value.Sensor, r.Value.Value)
		if r.Value.Sensor == "cellar" {
			cancel()
		}
		return nil
	}))
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
	// Output:
	// house attic 21.5
	// house cellar 9.0
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // it never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

func text(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// contentKey returns a UUID that depends on the content alone (RFC 9562, version
// 8): the same content has the same key, wherever and however often it is made.
func contentKey(content []byte) (id [16]byte) {
	sum := sha256.Sum256(content)
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Two kinds of keys that spread records evenly over the partitions. A UUID is made
// once, before the first Send, so that whoever sends the record again sends the
// same key. A key made of the content needs no memory at all: a program that
// starts anew gives the same record the same key, by which the dedup plugin drops
// it ([plugin.dedup.config] id = "key").
func Example_keys() {
	a, b := newUUID(), newUUID()
	fmt.Println(len(text(a)), a != b)
	fmt.Println(text(contentKey([]byte(`{"sensor":"attic","value":21.5}`))))
	fmt.Println(text(contentKey([]byte(`{"sensor":"attic","value":21.5}`))))
	fmt.Println(text(contentKey([]byte(`{"sensor":"attic","value":21.6}`))))
	// Output:
	// 36 true
	// abfe6e02-a36d-8103-8a20-8a0fb7b62e9e
	// abfe6e02-a36d-8103-8a20-8a0fb7b62e9e
	// 80e92483-ba10-80d0-8580-381c5a37b6d3
}
