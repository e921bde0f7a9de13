package host

// topicFacts shows plugins what is known of a topic.
type topicFacts struct{ p *Producer }

// Facts implements interceptor.TopicFacts.
func (f topicFacts) Facts(topic string) (partitions int32, epoch uint32, avail []bool, load []uint32, known bool) {
	meta := f.p.cluster.Topic(topic)
	if meta == nil {
		return 0, 0, nil, nil, false
	}
	avail = make([]bool, len(meta.Partitions))
	for i, part := range meta.Partitions {
		avail[i] = part.Leader >= 0
	}
	return int32(len(meta.Partitions)), meta.Epoch, avail, f.p.pipeline.Load(topic, nil), true
}
