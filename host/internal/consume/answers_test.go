package consume

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchAnswer answers for n partitions of each of some topics, in the order of the
// partitions that it returns, or in any other.
func fetchAnswer(topics, n int, named, inOrder bool) (*kmsg.FetchResponse, []*partition) {
	resp := new(kmsg.FetchResponse)
	var parts []*partition
	for i := range topics {
		name, id := fmt.Sprint("topic-", i), [16]byte{15: byte(i + 1)}
		t := kmsg.FetchResponseTopic{TopicID: id}
		if named {
			t = kmsg.FetchResponseTopic{Topic: name}
		}
		for j := range n {
			t.Partitions = append(t.Partitions, kmsg.FetchResponseTopicPartition{Partition: int32(j), HighWatermark: int64(1000*i + j)})
			parts = append(parts, &partition{TopicPartition: tp(name, int32(j)), topicID: id})
		}
		if !inOrder {
			rand.Shuffle(n, func(a, b int) { t.Partitions[a], t.Partitions[b] = t.Partitions[b], t.Partitions[a] })
		}
		resp.Topics = append(resp.Topics, t)
	}
	if inOrder {
		return resp, parts
	}
	rand.Shuffle(topics, func(a, b int) { resp.Topics[a], resp.Topics[b] = resp.Topics[b], resp.Topics[a] })
	return resp, parts
}

func TestAnswers(t *testing.T) {
	for _, named := range []bool{true, false} {
		var a answers
		for round := range 4 { // again with what was there before
			resp, parts := fetchAnswer(5, 7, named, round%2 == 0)
			a.begin(resp)
			for i, p := range parts {
				if got := a.of(p); got == nil || got.Partition != p.Partition || got.HighWatermark != int64(1000*(i/7)+i%7) {
					t.Errorf("named %v: the answer for %v is %+v", named, p.TopicPartition, got)
				}
			}
			for what, p := range map[string]*partition{
				"another partition": {TopicPartition: tp("topic-1", 7), topicID: [16]byte{15: 2}},
				"another topic":     {TopicPartition: tp("else", 0), topicID: [16]byte{15: 99}},
				"no id":             {TopicPartition: tp("else", 0)},
			} {
				if got := a.of(p); got != nil {
					t.Errorf("named %v: %s has the answer %+v", named, what, got)
				}
			}
			a.end()
		}
	}
}

// BenchmarkAnswers finds every partition of one broker's answer.
func BenchmarkAnswers(b *testing.B) {
	for name, inOrder := range map[string]bool{"in order": true, "shuffled": false} {
		for _, n := range []int{10, 100, 1000, 10_000} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				resp, parts := fetchAnswer(1, n, false, inOrder)
				var a answers
				b.ReportAllocs()
				for b.Loop() {
					a.begin(resp)
					for _, p := range parts {
						if a.of(p) == nil {
							b.Fatal("no answer")
						}
					}
					a.end()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/partition")
			})
		}
	}
}
