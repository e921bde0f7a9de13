//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// admin has f use a client. Each has its own, so that none outlives its use.
func (c *Cluster) admin(f func(*kadm.Client) error) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.RetryTimeout(5*time.Second), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	return f(kadm.NewClient(cl))
}

func (c *Cluster) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.admin(func(adm *kadm.Client) error {
		m, err := adm.Metadata(ctx)
		if err != nil {
			return err
		}
		if len(m.Brokers) < len(c.nodes) {
			return fmt.Errorf("%d of %d brokers are there", len(m.Brokers), len(c.nodes))
		}
		var problem error
		m.Topics.EachPartition(func(p kadm.PartitionDetail) {
			switch {
			case p.Err != nil && !errors.Is(p.Err, kerr.ReplicaNotAvailable):
				problem = fmt.Errorf("%s/%d: %w", p.Topic, p.Partition, p.Err)
			case p.Leader < 0 || len(p.ISR) < len(p.Replicas):
				problem = fmt.Errorf("%s/%d: leader %d, in sync are %v of %v", p.Topic, p.Partition, p.Leader, p.ISR, p.Replicas)
			}
		})
		return problem
	})
}

// CreateTopic makes a topic with a copy on each broker and waits until it can be
// used.
func (c *Cluster) CreateTopic(ctx context.Context, topic string, partitions int32, configs map[string]string) error {
	values := map[string]*string{}
	for k, v := range configs {
		values[k] = &v
	}
	err := c.admin(func(adm *kadm.Client) error {
		_, err := adm.CreateTopic(ctx, partitions, int16(len(c.nodes)), values, topic)
		return err
	})
	if err != nil {
		return fmt.Errorf("create topic %q: %w", topic, err)
	}
	return c.awaitTopic(ctx, topic, partitions)
}

func (c *Cluster) awaitTopic(ctx context.Context, topic string, partitions int32) error {
	for {
		leaders, err := c.Leaders(ctx, topic)
		if err == nil && len(leaders) == int(partitions) && !slices.Contains(leaders, -1) {
			return nil
		}
		select {
		case <-time.After(awaitEvery / 4):
		case <-ctx.Done():
			return fmt.Errorf("topic %q has the leaders %v: %w", topic, leaders, errors.Join(ctx.Err(), err))
		}
	}
}

// Leaders returns the number of the broker that leads each partition, -1 for
// none.
func (c *Cluster) Leaders(ctx context.Context, topic string) ([]int, error) {
	var leaders []int
	err := c.eachPartition(ctx, topic, func(p kadm.PartitionDetail) {
		leaders = append(leaders, max(int(p.Leader)-1, -1))
	})
	return leaders, err
}

func (c *Cluster) eachPartition(ctx context.Context, topic string, f func(kadm.PartitionDetail)) error {
	return c.admin(func(adm *kadm.Client) error {
		m, err := adm.Metadata(ctx, topic)
		if err != nil {
			return err
		}
		d := m.Topics[topic]
		if d.Err != nil {
			return d.Err
		}
		for _, p := range d.Partitions.Sorted() {
			f(p)
		}
		return nil
	})
}

// MoveLeaders gives each partition of a topic the next of its replicas as its
// leader. What cannot be moved, because a broker is away, stays.
func (c *Cluster) MoveLeaders(ctx context.Context, topic string) error {
	var rotate kadm.AlterPartitionAssignmentsReq
	err := c.eachPartition(ctx, topic, func(p kadm.PartitionDetail) {
		if i := slices.Index(p.Replicas, p.Leader); i >= 0 {
			rotate.Assign(topic, p.Partition, append(slices.Clone(p.Replicas[(i+1)%len(p.Replicas):]), p.Replicas[:(i+1)%len(p.Replicas)]...))
		}
	})
	if err != nil {
		return err
	}
	return c.admin(func(adm *kadm.Client) error {
		if _, err := adm.AlterPartitionAssignments(ctx, rotate); err != nil {
			return err
		}
		var set kadm.TopicsSet
		for p := range rotate[topic] {
			set.Add(topic, p)
		}
		_, err := adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
		return err
	})
}

// Clear deletes all topics but Kafka's own, and the groups without members.
func (c *Cluster) Clear(ctx context.Context) error {
	for {
		err := c.admin(func(adm *kadm.Client) error { return errors.Join(clearGroups(ctx, adm), clearTopics(ctx, adm)) })
		if err == nil {
			return nil
		}
		select {
		case <-time.After(awaitEvery): // a coordinator may be on its way
		case <-ctx.Done():
			return fmt.Errorf("clear the cluster: %w", err)
		}
	}
}

func clearGroups(ctx context.Context, adm *kadm.Client) error {
	groups, err := adm.ListGroups(ctx)
	if err != nil || len(groups) == 0 {
		return err
	}
	described, err := adm.DescribeGroups(ctx, groups.Groups()...)
	if err != nil {
		return err
	}
	for _, g := range described {
		leave := kadm.LeaveGroup(g.Group)
		for _, m := range g.Members { // static ones do not leave by themselves (KIP-345)
			if m.InstanceID != nil {
				leave.InstanceIDs(*m.InstanceID)
			}
		}
		if _, err := adm.LeaveGroup(ctx, leave); err != nil {
			return err
		}
	}
	_, err = adm.DeleteGroups(ctx, groups.Groups()...)
	return err
}

func clearTopics(ctx context.Context, adm *kadm.Client) error {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(topics.Names(), func(n string) bool { return strings.HasPrefix(n, "__") })
	if len(names) == 0 {
		return nil
	}
	deleted, err := adm.DeleteTopics(ctx, names...)
	return errors.Join(err, deleted.Error())
}
