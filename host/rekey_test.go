package host_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/klamm-io/klamm/host"
)

// fillScattered writes every number below n, some of them several times, to any
// partition: the id is in the value and in a header, the key says nothing.
func fillScattered(t *testing.T, b *testBroker, topic string, partitions int32, n int, rng *rand.Rand) (records int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var recs []*kgo.Record
	for i := range n {
		for range 1 + rng.IntN(3) {
			v := fmt.Appendf(nil, `{"n":%d,"id":"%d"}`, i, i)
			recs = append(recs, &kgo.Record{
				Topic: topic, Partition: rng.Int32N(partitions), Key: fmt.Append(nil, rng.IntN(5)), Value: v,
				Headers: []kgo.RecordHeader{{Key: "id", Value: []byte("other")}, {Key: "id", Value: fmt.Append(nil, i)}},
			})
		}
	}
	rng.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
	if err := cl.ProduceSync(within(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return len(recs)
}

func scattered(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"n":%d,"id":"%d"}`, i, i)
	}
	return all
}

// A pipeline with rekey drops copies that are in other partitions, and on other
// hosts, than the first one was.
func TestRekey(t *testing.T) {
	for _, id := range []any{"header:id", "json:id", []any{"json:n", "header:id"}} {
		t.Run(fmt.Sprint(id), func(t *testing.T) {
			b := startBroker(t, 3, "raw", "clean")
			rng := rand.New(rand.NewPCG(1, 2))
			rekeying := func() host.Config {
				cfg := cleaning("a", false)
				dedup := cfg.Plugin["dedup"]
				dedup.Config = map[string]any{"id": id, "window": "0s"}
				cfg.Plugin["dedup"] = dedup
				p := cfg.Pipeline["p"]
				p.Rekey = true
				cfg.Pipeline["p"] = p
				cfg.Chain["all"] = host.ChainConfig{Topics: []string{"*"}} // none of the stage's
				return cfg
			}
			all := 0
			for round := 1; round <= 2; round++ { // the second one in another process
				n := 100 * round
				in := fillScattered(t, b, "raw", 3, n, rng)
				all += in
				h := newHost(t, b, rekeying())
				must(t, h.Run(within(t)))
				stats := h.Stats().Pipelines
				balanced(t, stats["p-rekey"].Counts, int64(in))
				balanced(t, stats["p"].Counts, int64(in))
				if out := stats["p"].Out; out != 100 {
					t.Errorf("round %d: %d records came out, want 100", round, out)
				}
				onceEach(t, b, "clean", scattered(n))
				must(t, h.Close(within(t)))
			}
			// Keys are as they were.
			for _, r := range readUntil(t, b, "klamm-rekey-p", all) {
				if len(r.Key) != 1 || r.Key[0] > '4' {
					t.Fatalf("key %q between the stages", r.Key)
				}
			}
		})
	}
}

// The topic between the stages may not change: an id would be looked for in
// another partition than it was put.
func TestRekeyTopicThatGrew(t *testing.T) {
	b := startBroker(t, 2, "raw", "clean")
	fillScattered(t, b, "raw", 2, 10, rand.New(rand.NewPCG(1, 2)))
	cfg := cleaning("a", false)
	p := cfg.Pipeline["p"]
	p.Rekey = true
	cfg.Pipeline["p"] = p
	must(t, newHost(t, b, cfg).Run(within(t)))
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	must(t, err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreatePartitions(within(t), 1, "klamm-rekey-p")
	must(t, err)
	if err := newHost(t, b, cfg).Run(within(t)); err == nil || !strings.Contains(err.Error(), "it has 2 partitions and the pipeline's input has 3") {
		t.Errorf("got %v", err)
	}
}
