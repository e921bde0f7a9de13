package consume

import (
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
)

// ErrTopicRecreated: a topic was deleted and made anew while it was read. Offsets
// of the old one mean nothing in the new one, so reading on could pass records
// over. A new run starts where the group has offsets in the new topic, or by
// auto_offset_reset.
var ErrTopicRecreated = errors.New("the topic was deleted and made anew while it was read; start again to read the new one")

// gone tells why a partition cannot be read any more: its topic was deleted, or
// is another one of the same name.
func (f *fetcher) gone(p *partition) error {
	t := f.cluster.Topic(p.Topic)
	switch none := [16]byte{}; {
	case t == nil:
		return fmt.Errorf("read %s/%d at offset %d: the topic was deleted: %w", p.Topic, p.Partition, max(p.next, 0), klamm.ErrUnknownTopic)
	case p.topicID != none && t.ID != none && t.ID != p.topicID:
		return fmt.Errorf("read %s/%d at offset %d: %w", p.Topic, p.Partition, max(p.next, 0), ErrTopicRecreated)
	}
	return nil
}
