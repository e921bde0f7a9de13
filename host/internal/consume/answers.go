package consume

import "github.com/twmb/franz-go/pkg/kmsg"

// answers finds partitions in the answer to a fetch, which names their topics or
// their ids. Most often they come in the order in which they were asked for; an
// index is made only where they do not.
type answers struct {
	resp      *kmsg.FetchResponse
	topic, at int // what is expected next
	byKey     map[answerKey]*kmsg.FetchResponseTopicPartition
	indexed   bool
}

// answerKey has a topic's name or its id.
type answerKey struct {
	topic     string
	id        [16]byte
	partition int32
}

func (a *answers) begin(resp *kmsg.FetchResponse) {
	a.resp, a.topic, a.at, a.indexed = resp, 0, 0, false
}

// end lets go of the answer.
func (a *answers) end() {
	a.resp = nil
	clear(a.byKey)
}

// of returns what is said of a partition; nil where nothing is.
func (a *answers) of(p *partition) *kmsg.FetchResponseTopicPartition {
	if got := a.expected(p); got != nil {
		return got
	}
	if !a.indexed {
		a.index()
	}
	if got := a.byKey[answerKey{topic: p.Topic, partition: p.Partition}]; got != nil {
		return got
	}
	return a.byKey[answerKey{id: p.topicID, partition: p.Partition}]
}

// expected returns the next one if it is p's.
func (a *answers) expected(p *partition) *kmsg.FetchResponseTopicPartition {
	for a.topic < len(a.resp.Topics) && a.at >= len(a.resp.Topics[a.topic].Partitions) {
		a.topic, a.at = a.topic+1, 0
	}
	if a.topic >= len(a.resp.Topics) {
		return nil
	}
	t := &a.resp.Topics[a.topic]
	got := &t.Partitions[a.at]
	if got.Partition != p.Partition || t.Topic != p.Topic && (t.Topic != "" || t.TopicID != p.topicID) {
		return nil
	}
	a.at++
	return got
}

func (a *answers) index() {
	a.indexed = true
	if a.byKey == nil {
		a.byKey = map[answerKey]*kmsg.FetchResponseTopicPartition{}
	}
	for i := range a.resp.Topics {
		t := &a.resp.Topics[i]
		key := answerKey{topic: t.Topic}
		if t.Topic == "" {
			key.id = t.TopicID
		}
		for j := range t.Partitions {
			key.partition = t.Partitions[j].Partition
			a.byKey[key] = &t.Partitions[j]
		}
	}
}
