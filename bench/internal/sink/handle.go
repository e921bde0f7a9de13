package sink

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// apis are the requests that the sink knows, with their versions: the last of
// Produce and Metadata that name topics and not their ids.
var apis = []kmsg.ApiVersionsResponseApiKey{
	{ApiKey: 0, MinVersion: 3, MaxVersion: 11}, // Produce
	{ApiKey: 1, MinVersion: 4, MaxVersion: 11}, // Fetch: named, so that clients take us for a broker
	{ApiKey: 3, MinVersion: 0, MaxVersion: 9},  // Metadata
	{ApiKey: 10, MinVersion: 0, MaxVersion: 4}, // FindCoordinator
	{ApiKey: apiVersionsKey, MinVersion: 0, MaxVersion: 3},
	{ApiKey: 22, MinVersion: 0, MaxVersion: 4}, // InitProducerId
}

const (
	apiVersionsKey     = 18
	unsupportedVersion = 35
)

func inRange(key, version int16) bool {
	for i := range apis {
		if apis[i].ApiKey == key {
			return version >= apis[i].MinVersion && version <= apis[i].MaxVersion
		}
	}
	return false
}

func (b *Broker) handle(req kmsg.Request, supported bool) (kmsg.Response, error) {
	if r, ok := req.(*kmsg.ApiVersionsRequest); ok {
		return apiVersions(r, supported), nil
	}
	if !supported {
		return nil, fmt.Errorf("%s version %d is not known here", kmsg.NameForKey(req.Key()), req.GetVersion())
	}
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		return b.produce(r)
	case *kmsg.MetadataRequest:
		return b.metadata(r), nil
	case *kmsg.InitProducerIDRequest:
		return b.initProducerID(r), nil
	case *kmsg.FindCoordinatorRequest:
		return b.findCoordinator(r), nil
	}
	return nil, fmt.Errorf("%s is not known here", kmsg.NameForKey(req.Key()))
}

// apiVersions answers a version that is too new in version 0, as brokers do.
func apiVersions(r *kmsg.ApiVersionsRequest, supported bool) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.ApiVersionsResponse)
	if !supported {
		resp.Version, resp.ErrorCode = 0, unsupportedVersion
	}
	resp.ApiKeys = apis
	return resp
}

func (b *Broker) metadata(r *kmsg.MetadataRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.MetadataResponse)
	node := kmsg.NewMetadataResponseBroker()
	node.NodeID, node.Host, node.Port = 0, b.host, b.port
	resp.Brokers = append(resp.Brokers, node)
	resp.ClusterID = kmsg.StringPtr("sink")
	for _, name := range b.named(r) {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = kmsg.StringPtr(name)
		for i := range b.partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Replicas, p.ISR = i, []int32{0}, []int32{0}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// named returns the topics that a request asks for: with no list, all there are.
func (b *Broker) named(r *kmsg.MetadataRequest) (names []string) {
	if r.Topics == nil || r.Version == 0 && len(r.Topics) == 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		for name := range b.topics {
			names = append(names, name)
		}
		return names
	}
	for i := range r.Topics {
		if t := r.Topics[i].Topic; t != nil {
			names = append(names, *t)
		}
	}
	return names
}

func (b *Broker) initProducerID(r *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextID++
	resp.ProducerID, resp.ProducerEpoch = b.nextID, 0
	return resp
}

func (b *Broker) findCoordinator(r *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.FindCoordinatorResponse)
	resp.NodeID, resp.Host, resp.Port = 0, b.host, b.port
	for _, key := range r.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port = key, 0, b.host, b.port
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}

func (b *Broker) produce(r *kmsg.ProduceRequest) (kmsg.Response, error) {
	resp := r.ResponseKind().(*kmsg.ProduceResponse)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range r.Topics {
		t := b.topic(r.Topics[i].Topic)
		out := kmsg.NewProduceResponseTopic()
		out.Topic = r.Topics[i].Topic
		for _, p := range r.Topics[i].Partitions {
			base, err := t.take(p.Partition, p.Records, b.deep)
			if err != nil {
				return nil, fmt.Errorf("topic %q partition %d: %w", out.Topic, p.Partition, err)
			}
			op := kmsg.NewProduceResponseTopicPartition()
			op.Partition, op.BaseOffset, op.LogStartOffset = p.Partition, base, 0
			out.Partitions = append(out.Partitions, op)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if r.Acks == 0 {
		return nil, nil
	}
	return resp, nil
}
