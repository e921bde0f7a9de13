package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker"
)

// verified counts what is in the topics and says whether it is what the copy says.
func (c *copyRun) verified(ctx context.Context, r *host.CopyReport) error {
	c.a.say("counting what is in the topics")
	reader, err := readerOf(c.s)
	if err != nil {
		return errors.Join(c.print(r, nil), err)
	}
	differences, err := compareCopy(ctx, r, reader.count)
	if err == nil && len(differences) == 0 {
		differences, err = c.compareContents(ctx, r, reader.scan)
	}
	if err != nil { // the copy itself is done
		return errors.Join(c.print(r, nil), c.s.unreached(err))
	}
	equal := len(differences) == 0
	if err := c.print(r, &equal); err != nil {
		return err
	}
	if equal {
		c.a.say("verified: equal on all %d partitions of %s and %d of what it went to", len(r.Partitions), r.From, len(r.Outputs))
		return nil
	}
	for i, d := range differences {
		if i == maxFailuresTold {
			c.a.say("and %d more differences", len(differences)-i)
			break
		}
		fmt.Fprintln(c.a.talk, d)
	}
	return todo(fmt.Errorf("the copy is not verified: it differs in %d places", len(differences)),
		"did others write to %s, or did retention take records of %s, since the copy began? Else keep both topics and report it", r.To, r.From)
}

// topicReader reads what is committed in the brokers' topics. It is not Klamm's own
// reader.
type topicReader func(topic string) *checker.Kafka

// counter counts committed records of a topic's partitions, each from an offset
// to before another one, or to the end.
type counter func(ctx context.Context, topic string, starts, ends map[int32]int64) (map[int32]int64, error)

// scanner reads the same records.
type scanner func(ctx context.Context, topic string, starts, ends map[int32]int64, each func(partition int32, key, value []byte, headers []klamm.Header)) error

func readerOf(s *settings) (topicReader, error) {
	tls, err := host.TLSOf(&s.Cluster.TLS)
	if err != nil {
		return nil, err
	}
	sasl := s.Cluster.SASL
	reach := &checker.Reach{TLS: tls, Mechanism: sasl.Mechanism, Username: sasl.Username, Password: sasl.Password.Reveal()}
	options, err := reach.Options()
	return func(topic string) *checker.Kafka {
		return &checker.Kafka{Topic: topic, Brokers: s.Cluster.BootstrapServers, Options: options}
	}, err
}

func (r topicReader) count(ctx context.Context, topic string, starts, ends map[int32]int64) (map[int32]int64, error) {
	return r(topic).Count(ctx, starts, ends)
}

func (r topicReader) scan(ctx context.Context, topic string, starts, ends map[int32]int64, each func(partition int32, key, value []byte, headers []klamm.Header)) error {
	return r(topic).Scan(ctx, starts, ends, each)
}

// compareCopy returns every difference between what a copy says and what there is.
func compareCopy(ctx context.Context, r *host.CopyReport, count counter) ([]string, error) {
	differences, err := compareInput(ctx, r, count)
	if err != nil {
		return nil, err
	}
	topics := map[string][]host.CopyOutput{}
	for _, o := range r.Outputs {
		topics[o.Topic] = append(topics[o.Topic], o)
	}
	for _, topic := range sortedKeys(topics) {
		more, err := compareOutput(ctx, topic, topics[topic], count)
		if err != nil {
			return nil, err
		}
		differences = append(differences, more...)
	}
	return differences, nil
}

func compareInput(ctx context.Context, r *host.CopyReport, count counter) ([]string, error) {
	starts, ends := map[int32]int64{}, map[int32]int64{}
	for _, p := range r.Partitions {
		starts[p.Partition], ends[p.Partition] = p.Start, p.End
	}
	there, err := count(ctx, r.From, starts, ends)
	if err != nil {
		return nil, err
	}
	var differences []string
	for _, p := range r.Partitions {
		if there[p.Partition] != p.In {
			differences = append(differences, fmt.Sprintf("%s/%d: %d records were read, and from offset %d to %d there are %d", r.From, p.Partition, p.In, p.Start, p.End, there[p.Partition]))
		}
		if p.In != p.Out+p.Dropped+p.DeadLettered {
			differences = append(differences, fmt.Sprintf("%s/%d: in %d is not out %d + dropped %d + dead-lettered %d", r.From, p.Partition, p.In, p.Out, p.Dropped, p.DeadLettered))
		}
	}
	return differences, nil
}

// compareOutput counts one topic that records went to. Partitions that are not
// told apart are compared together.
func compareOutput(ctx context.Context, topic string, outputs []host.CopyOutput, count counter) ([]string, error) {
	starts := map[int32]int64{}
	together, said, folded := int64(0), map[int32]int64{}, false
	for _, o := range outputs {
		together += o.Records
		if o.Partition == klamm.NoPartition {
			folded = true
			continue
		}
		starts[o.Partition], said[o.Partition] = o.Start, o.Records
	}
	there, err := count(ctx, topic, starts, nil)
	if err != nil {
		return nil, err
	}
	if folded {
		sum := int64(0)
		for _, n := range there {
			sum += n
		}
		if sum != together {
			return []string{fmt.Sprintf("%s: the copy has written %d records, and there are %d since it began", topic, together, sum)}, nil
		}
		return nil, nil
	}
	var differences []string
	for _, o := range outputs {
		if there[o.Partition] != said[o.Partition] {
			differences = append(differences, fmt.Sprintf("%s/%d: the copy has written %d records, and from offset %d on there are %d", topic, o.Partition, said[o.Partition], o.Start, there[o.Partition]))
		}
	}
	return differences, nil
}
