package consume

import "github.com/klamm-io/klamm"

// byTopic puts partitions into the topics of a request, each topic once. topic
// makes one of a name, add puts a partition into it.
func byTopic[V, T any](parts map[klamm.TopicPartition]V, topics []T, topic func(name string) T, add func(t *T, partition int32, v V)) []T {
	at := make(map[string]int)
	for tp, v := range parts {
		i, ok := at[tp.Topic]
		if !ok {
			i, at[tp.Topic] = len(topics), len(topics)
			topics = append(topics, topic(tp.Topic))
		}
		add(&topics[i], tp.Partition, v)
	}
	return topics
}
