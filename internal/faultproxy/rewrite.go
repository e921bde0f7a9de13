package faultproxy

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hasAddresses reports whether replies of a version may name brokers.
func hasAddresses(q asked) bool {
	switch kmsg.Key(q.key) {
	case kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeCluster, kmsg.ShareFetch, kmsg.ShareAcknowledge:
		return true
	case kmsg.Produce:
		return q.version >= 10 // KIP-951
	case kmsg.Fetch:
		return q.version >= 16
	}
	return false
}

// rewrite puts the proxy's addresses in place of the brokers'. A reply that it
// cannot read is passed on as it is.
func (p *Proxy) rewrite(q asked, frame []byte) []byte {
	if !hasAddresses(q) {
		return frame
	}
	resp := kmsg.ResponseForKey(q.key)
	resp.SetVersion(q.version)
	head := kbin.Reader{Src: frame[8:]}
	if resp.IsFlexible() {
		kmsg.SkipTags(&head)
	}
	if head.Complete() != nil || resp.ReadFrom(head.Src) != nil {
		return frame
	}
	if !p.replace(resp) {
		return frame
	}
	header := frame[:len(frame)-len(head.Src)]
	out := resp.AppendTo(append(make([]byte, 0, len(frame)+64), header...))
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

// replace changes the addresses in resp and reports whether there were any.
func (p *Proxy) replace(resp kmsg.Response) bool {
	switch r := resp.(type) {
	case *kmsg.MetadataResponse:
		for i := range r.Brokers {
			p.swap(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
		return len(r.Brokers) > 0
	case *kmsg.FindCoordinatorResponse:
		p.swap(&r.Host, &r.Port)
		for i := range r.Coordinators {
			p.swap(&r.Coordinators[i].Host, &r.Coordinators[i].Port)
		}
		return true
	case *kmsg.DescribeClusterResponse:
		for i := range r.Brokers {
			p.swap(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
		return len(r.Brokers) > 0
	case *kmsg.ProduceResponse:
		for i := range r.Brokers {
			p.swap(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
		return len(r.Brokers) > 0
	case *kmsg.FetchResponse:
		for i := range r.Brokers {
			p.swap(&r.Brokers[i].Host, &r.Brokers[i].Port)
		}
		return len(r.Brokers) > 0
	case *kmsg.ShareFetchResponse:
		for i := range r.NodeEndpoints {
			p.swap(&r.NodeEndpoints[i].Host, &r.NodeEndpoints[i].Port)
		}
		return len(r.NodeEndpoints) > 0
	case *kmsg.ShareAcknowledgeResponse:
		for i := range r.NodeEndpoints {
			p.swap(&r.NodeEndpoints[i].Host, &r.NodeEndpoints[i].Port)
		}
		return len(r.NodeEndpoints) > 0
	}
	return false
}

func (p *Proxy) swap(host *string, port *int32) { *host, *port = p.address(*host, *port) }

// expectsReply is false for a Produce request with acks=0 alone.
func expectsReply(r Request) bool {
	if kmsg.Key(r.Key) != kmsg.Produce {
		return true
	}
	head := kbin.Reader{Src: r.Frame[8:]}
	head.NullableString() // client id
	flexible := r.Version >= 9
	if flexible {
		kmsg.SkipTags(&head)
	}
	if r.Version >= 3 {
		if flexible {
			head.CompactNullableString()
		} else {
			head.NullableString()
		}
	}
	acks := head.Int16()
	return head.Complete() != nil || acks != 0
}
