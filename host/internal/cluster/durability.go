package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/IBM/sarama"
)

// Durability is what decides how many copies of a record a broker's answer
// stands for.
type Durability struct {
	Topic string
	// Replicas and InSync are those of the partition that has the fewest of
	// them now.
	Replicas, InSync int
	// Settings are the topic's own or its broker's defaults; a setting that the
	// broker does not know is missing.
	Settings map[string]string
}

// durabilitySettings are the topic settings that are asked for.
var durabilitySettings = []string{"min.insync.replicas", "unclean.leader.election.enable", "retention.ms", "cleanup.policy", "max.message.bytes"}

// Durability asks the brokers for topics as they are now. Topics that do not
// exist are left out.
func (c *Cluster) Durability(ctx context.Context, names ...string) ([]Durability, error) {
	if len(names) == 0 {
		return nil, nil
	}
	resp, err := c.metadataNow(ctx, "describe topics", names)
	if err != nil {
		return nil, err
	}
	var found []Durability
	var resources []*sarama.ConfigResource
	for _, t := range resp.Topics {
		if t.Err != sarama.ErrNoError || len(t.Partitions) == 0 {
			continue
		}
		found = append(found, replicasOf(t))
		resources = append(resources, &sarama.ConfigResource{Type: sarama.TopicResource, Name: t.Name, ConfigNames: durabilitySettings})
	}
	settings, err := c.describeConfigs(ctx, "describe topic settings", resources, c.openAny)
	for i := range found {
		found[i].Settings = settings[found[i].Topic]
	}
	return found, err
}

func replicasOf(t *sarama.TopicMetadata) Durability {
	d := Durability{Topic: t.Name, Replicas: len(t.Partitions[0].Replicas), InSync: len(t.Partitions[0].Isr)}
	for _, p := range t.Partitions[1:] {
		d.Replicas, d.InSync = min(d.Replicas, len(p.Replicas)), min(d.InSync, len(p.Isr))
	}
	return d
}

// BrokerSettings asks one broker for settings of its own by their names.
func (c *Cluster) BrokerSettings(ctx context.Context, names ...string) (map[string]string, error) {
	id, addr := c.someBroker()
	name := strconv.Itoa(int(id))
	resource := &sarama.ConfigResource{Type: sarama.BrokerResource, Name: name, ConfigNames: names}
	all, err := c.describeConfigs(ctx, "describe broker settings", []*sarama.ConfigResource{resource},
		func(ctx context.Context) (*link, error) { return c.open(ctx, id, addr) })
	return all[name], err
}

func (c *Cluster) someBroker() (id int32, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id = slices.Min(slices.Collect(maps.Keys(c.brokers)))
	return id, c.brokers[id]
}

// describeConfigs returns settings by their resource's name.
func (c *Cluster) describeConfigs(ctx context.Context, what string, resources []*sarama.ConfigResource, open func(context.Context) (*link, error)) (map[string]map[string]string, error) {
	if len(resources) == 0 {
		return nil, nil
	}
	var resp *sarama.DescribeConfigsResponse
	err := c.retry(ctx, what, func(ctx context.Context) error {
		l, err := open(ctx)
		if err != nil {
			return err
		}
		defer l.close()
		err = l.do(ctx, func(b *sarama.Broker) (err error) {
			resp, err = b.DescribeConfigs(&sarama.DescribeConfigsRequest{Version: 2, Resources: resources})
			return err
		})
		if err != nil {
			return l.explain(ctx, c.settings, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	settings := map[string]map[string]string{}
	var errs []error
	for _, r := range resp.Resources {
		if err := brokerError(sarama.KError(r.ErrorCode), &r.ErrorMsg); err != nil {
			errs = append(errs, fmt.Errorf("settings of %q: %w", r.Name, err))
			continue
		}
		of := map[string]string{}
		for _, e := range r.Configs {
			of[e.Name] = e.Value
		}
		settings[r.Name] = of
	}
	return settings, errors.Join(errs...)
}
