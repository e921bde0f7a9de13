package produce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// fakeNetwork is a cluster of brokers that live in the test and talk over
// net.Pipe, so that they work in a synctest bubble.
type fakeNetwork struct {
	t *testing.T

	mu         sync.Mutex
	partCount  int
	topicID    [16]byte
	leaders    map[int32]int32 // by partition
	epochs     map[int32]int32
	logs       map[int32]*modelLog
	watchers   []func(string)
	refreshes  int
	hints      int
	dials      int
	dialErr    map[int32]error
	nextPID    int64
	firstEpoch int16
	pidErr     error
	minVersion int16
	maxVersion int16
	maxIdle    time.Duration
	session    time.Duration // how long a login lives; 0: for ever
	conns      []*fakeConn
	serving    sync.WaitGroup

	// txns is the coordinator, where the producer is transactional.
	txns *modelCoordinator

	// transports, where it is set, takes the place of connections.
	transports func(broker int32) transport
	// serve answers a connection until it ends.
	serve func(c *fakeConn)
}

func newFakeNetwork(t *testing.T, partitions int) *fakeNetwork {
	n := &fakeNetwork{
		t: t, partCount: partitions, nextPID: 1, minVersion: 3, maxVersion: 11, topicID: [16]byte{1},
		leaders: map[int32]int32{}, epochs: map[int32]int32{}, logs: map[int32]*modelLog{}, dialErr: map[int32]error{},
	}
	for p := range int32(partitions) {
		n.leaders[p], n.logs[p] = 1, &modelLog{}
	}
	return n
}

func (n *fakeNetwork) clientID() string { return "test" }

func (n *fakeNetwork) links() (backoff, time.Duration) {
	return backoff{first: 50 * time.Millisecond, max: time.Second}, n.maxIdle
}

func (n *fakeNetwork) partitions(topic string) (int, [16]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if topic != "t" {
		return 0, [16]byte{}
	}
	return n.partCount, n.topicID
}

func (n *fakeNetwork) leader(_ string, partition int32) (int32, int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leaders[partition], n.epochs[partition]
}

func (n *fakeNetwork) hint(_ string, partition, broker, epoch int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hints++
	if epoch > n.epochs[partition] {
		n.leaders[partition], n.epochs[partition] = broker, epoch
	}
}

func (n *fakeNetwork) refresh(...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshes++
}

func (n *fakeNetwork) watch(f func(string)) func() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers = append(n.watchers, f)
	return func() {}
}

// move makes broker the leader of partition, and says so.
func (n *fakeNetwork) move(partition, broker int32) {
	n.mu.Lock()
	n.leaders[partition] = broker
	n.epochs[partition]++
	watchers := n.watchers
	n.mu.Unlock()
	for _, f := range watchers {
		f("t")
	}
}

func (n *fakeNetwork) producerID(ctx context.Context) (int64, int16, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.pidErr; err != nil {
		n.mu.Unlock()
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
		n.mu.Lock()
		return -1, -1, err
	}
	id, epoch := n.nextPID, n.firstEpoch
	n.nextPID++
	n.firstEpoch = 0
	return id, epoch, nil
}

func (n *fakeNetwork) dial(_ context.Context, broker int32) (transport, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials++
	if err := n.dialErr[broker]; err != nil {
		return nil, err
	}
	if n.transports != nil {
		return n.transports(broker), nil
	}
	ours, theirs := net.Pipe()
	c := &fakeConn{network: n, broker: broker, Conn: theirs}
	n.conns = append(n.conns, c)
	n.serving.Go(func() { n.serve(c) })
	t := &netTransport{Conn: ours, min: n.minVersion, max: n.maxVersion}
	if n.session > 0 {
		t.renewAt = time.Now().Add(n.session)
	}
	return t, nil
}

// dialed is how many connections were asked for.
func (n *fakeNetwork) dialed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// stop ends the brokers.
func (n *fakeNetwork) stop() {
	n.mu.Lock()
	for _, c := range n.conns {
		c.Close()
	}
	n.mu.Unlock()
	n.serving.Wait()
}

// fakeConn is the broker's end of a connection.
type fakeConn struct {
	net.Conn
	network *fakeNetwork
	broker  int32
}

// fakeRequest is a Produce request that a broker has read.
type fakeRequest struct {
	version     int16
	correlation int32
	acks        int16
	txnID       string
	batches     []*modelBatch
}

func (c *fakeConn) read() (*fakeRequest, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, err
	}
	r, err := parseProduce(body)
	if err != nil {
		c.network.t.Errorf("broker %d: %v", c.broker, err)
	}
	return r, err
}

func parseProduce(body []byte) (*fakeRequest, error) {
	be := binary.BigEndian
	if len(body) < 10 || be.Uint16(body) != 0 {
		return nil, errors.New("no Produce request")
	}
	r := &fakeRequest{version: int16(be.Uint16(body[2:])), correlation: int32(be.Uint32(body[4:]))}
	id := int(be.Uint16(body[8:]))
	if string(body[10:10+id]) != "test" {
		return nil, fmt.Errorf("client id %q", body[10:10+id])
	}
	body = body[10+id:]
	req := kmsg.NewPtrProduceRequest()
	req.Version = r.version
	if req.IsFlexible() {
		if body[0] != 0 {
			return nil, errors.New("header tags")
		}
		body = body[1:]
	}
	if err := req.ReadFrom(body); err != nil {
		return nil, err
	}
	r.acks = req.Acks
	if req.TransactionID != nil {
		r.txnID = *req.TransactionID
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			b, err := readModelBatch(t.Topic, p.Partition, p.Records)
			if err != nil {
				return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
			}
			b.implicit = r.version >= implicitVersion
			r.batches = append(r.batches, b)
		}
	}
	return r, nil
}

// fakeAnswer is what the broker says of one batch.
type fakeAnswer struct {
	code        klamm.Code
	offset      int64
	logAppend   int64
	logStart    int64
	leader      int32
	leaderEpoch int32
	message     string
	records     []recordError
}

// encodeAnswer makes a response frame with kmsg.
func encodeAnswer(r *fakeRequest, answers []fakeAnswer, throttleMS int32) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = r.version
	resp.ThrottleMillis = throttleMS
	for i, b := range r.batches {
		a := answers[i]
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition, p.ErrorCode, p.BaseOffset = b.partition, int16(a.code), a.offset
		p.LogAppendTime, p.LogStartOffset = a.logAppend, a.logStart
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = a.leader, a.leaderEpoch
		if a.message != "" {
			p.ErrorMessage = &a.message
		}
		for _, e := range a.records {
			k := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			k.RelativeOffset, k.ErrorMessage = e.index, &e.message
			p.ErrorRecords = append(p.ErrorRecords, k)
		}
		if n := len(resp.Topics); n > 0 && resp.Topics[n-1].Topic == b.topic {
			resp.Topics[n-1].Partitions = append(resp.Topics[n-1].Partitions, p)
			continue
		}
		t := kmsg.NewProduceResponseTopic()
		t.Topic = b.topic
		t.Partitions = append(t.Partitions, p)
		resp.Topics = append(resp.Topics, t)
	}
	out := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(r.correlation))
	if r.version >= 9 {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

// apply writes the batch to the model log, if the broker leads the partition.
func (c *fakeConn) apply(b *modelBatch) fakeAnswer {
	n := c.network
	n.mu.Lock()
	defer n.mu.Unlock()
	a := fakeAnswer{offset: -1, logAppend: -1, logStart: 0, leader: -1, leaderEpoch: -1}
	if n.leaders[b.partition] != c.broker {
		a.code, a.leader, a.leaderEpoch = klamm.CodeNotLeaderForPartition, n.leaders[b.partition], n.epochs[b.partition]
		return a
	}
	if b.header.Attributes&transactionalBit != 0 {
		if a.code = n.txns.admit(b); a.code != klamm.CodeNone {
			return a
		}
	}
	a.code, a.offset = n.logs[b.partition].append(b)
	return a
}

// refs returns what the model logs hold.
func (n *fakeNetwork) refs() map[int32][]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[int32][]uint64{}
	for p, l := range n.logs {
		all[p] = append([]uint64(nil), l.refs...)
	}
	return all
}
