package produce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/host/internal/cluster"
)

// maxSaramaVersion is the newest Produce that sarama encodes.
const maxSaramaVersion = 10

// plainTransport is a transport on sarama's own structs: it reads back each
// request that the pipeline encoded, and has sarama encode, compress and send it
// anew and decode the answer. It is slow, and there for two reasons: as a way out
// where our encoder is suspected, and as the oracle of tests, which run on both.
type plainTransport struct {
	conn     *cluster.Conn
	min, max int16
	level    int

	answers *io.PipeReader
	in      *io.PipeWriter
	// queue holds the answers that Read has not taken yet: sarama's goroutine
	// must not wait.
	queue chan []byte
	ended chan struct{}
	once  sync.Once
}

// newPlainTransport takes over a connection. inFlight bounds the answers that may
// be waiting to be read.
func newPlainTransport(conn *cluster.Conn, low, high int16, inFlight, level int) *plainTransport {
	t := &plainTransport{conn: conn, min: low, max: min(high, maxSaramaVersion), level: level, queue: make(chan []byte, inFlight+1), ended: make(chan struct{})}
	t.answers, t.in = io.Pipe()
	go t.forward()
	return t
}

func (t *plainTransport) ProduceVersions() (int16, int16) { return t.min, t.max }

func (t *plainTransport) RenewAt() time.Time { return t.conn.RenewAt() }

func (t *plainTransport) Read(p []byte) (int, error) { return t.answers.Read(p) }

func (t *plainTransport) forward() {
	for {
		select {
		case frame := <-t.queue:
			if _, err := t.in.Write(frame); err != nil {
				return
			}
		case <-t.ended:
			return
		}
	}
}

// fail ends the connection for the first reason that is given.
func (t *plainTransport) fail(err error) {
	t.once.Do(func() {
		close(t.ended)
		t.in.CloseWithError(err)
		_ = t.answers.CloseWithError(err)
		go t.conn.Close() // it waits for the goroutine that may be calling
	})
}

func (t *plainTransport) Close() error {
	t.fail(net.ErrClosed)
	return nil
}

func (t *plainTransport) WriteFrame(pieces net.Buffers) error {
	var frame []byte
	for _, p := range pieces {
		frame = append(frame, p...)
	}
	correlation, req, err := readProduce(frame)
	if err != nil {
		return err
	}
	theirs, err := t.toSarama(req)
	if err != nil {
		return err
	}
	err = t.conn.Broker().AsyncProduce(theirs, func(resp *sarama.ProduceResponse, err error) {
		if err != nil {
			t.fail(err)
			return
		}
		select {
		case t.queue <- fromSarama(correlation, req.Version, req, resp):
		case <-t.ended:
		}
	})
	if err != nil {
		t.fail(err)
	}
	return err
}

// readProduce reads a frame of our own.
func readProduce(frame []byte) (correlation int32, req *kmsg.ProduceRequest, err error) {
	be := binary.BigEndian
	if len(frame) < 14 {
		return 0, nil, errTruncated
	}
	req = kmsg.NewPtrProduceRequest()
	req.Version = int16(be.Uint16(frame[6:]))
	skip := max(0, int(int16(be.Uint16(frame[12:])))) // client id
	if req.IsFlexible() {
		skip++ // header tags, of which we write none
	}
	body := frame[14:]
	if skip > len(body) {
		return 0, nil, errTruncated
	}
	return int32(be.Uint32(frame[8:])), req, req.ReadFrom(body[skip:])
}

func (t *plainTransport) toSarama(req *kmsg.ProduceRequest) (*sarama.ProduceRequest, error) {
	theirs := &sarama.ProduceRequest{TransactionalID: req.TransactionID, RequiredAcks: sarama.RequiredAcks(req.Acks), Timeout: req.TimeoutMillis, Version: req.Version}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			b, err := t.batch(p.Records)
			if err != nil {
				return nil, fmt.Errorf("topic %q partition %d: %w", topic.Topic, p.Partition, err)
			}
			theirs.AddBatch(topic.Topic, p.Partition, b)
		}
	}
	return theirs, nil
}

// batch reads a record batch into sarama's structs.
func (t *plainTransport) batch(raw []byte) (*sarama.RecordBatch, error) {
	var head kmsg.RecordBatch
	if err := head.ReadFrom(raw); err != nil {
		return nil, err
	}
	records, err := decompress(codec(head.Attributes&7), nil, head.Records)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	b := &sarama.RecordBatch{
		Version: head.Magic, PartitionLeaderEpoch: head.PartitionLeaderEpoch, FirstOffset: head.FirstOffset,
		Codec: sarama.CompressionCodec(head.Attributes & 7), CompressionLevel: sarama.CompressionLevelDefault,
		IsTransactional: head.Attributes&16 != 0, LastOffsetDelta: head.LastOffsetDelta,
		FirstTimestamp: time.UnixMilli(head.FirstTimestamp), MaxTimestamp: time.UnixMilli(head.MaxTimestamp),
		ProducerID: head.ProducerID, ProducerEpoch: head.ProducerEpoch, FirstSequence: head.FirstSequence,
		Records: make([]*sarama.Record, 0, head.NumRecords),
	}
	if t.level != 0 {
		b.CompressionLevel = t.level
	}
	r := recordReader{b: records}
	for range head.NumRecords {
		b.Records = append(b.Records, r.record())
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes are left after the records", len(r.b))
	}
	return b, r.err
}

// recordReader reads encoded records.
type recordReader struct {
	b   []byte
	err error
}

func (r *recordReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.err = errors.Join(r.err, errTruncated)
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes reads nullable bytes: null stays nil, empty ones do not become it.
func (r *recordReader) bytes() []byte {
	n := r.varint()
	if n < 0 || n > int64(len(r.b)) {
		if n != -1 {
			r.err = errors.Join(r.err, errTruncated)
		}
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *recordReader) record() *sarama.Record {
	length := r.varint()
	left := len(r.b)
	if len(r.b) > 0 {
		r.b = r.b[1:] // attributes
	}
	rec := &sarama.Record{TimestampDelta: time.Duration(r.varint()) * time.Millisecond, OffsetDelta: r.varint()}
	rec.Key, rec.Value = r.bytes(), r.bytes()
	for n := r.varint(); n > 0 && r.err == nil; n-- {
		rec.Headers = append(rec.Headers, &sarama.RecordHeader{Key: r.bytes(), Value: r.bytes()})
	}
	if got := left - len(r.b); int64(got) != length && r.err == nil {
		r.err = fmt.Errorf("a record of %d bytes claims %d", got, length)
	}
	return rec
}

// fromSarama makes the frame that the broker answered with.
func fromSarama(correlation int32, version int16, req *kmsg.ProduceRequest, theirs *sarama.ProduceResponse) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = version
	resp.ThrottleMillis = int32(theirs.ThrottleTime.Milliseconds())
	for _, asked := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = asked.Topic
		for id, block := range theirs.Blocks[asked.Topic] {
			topic.Partitions = append(topic.Partitions, partitionFromSarama(id, block))
		}
		resp.Topics = append(resp.Topics, topic)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(correlation))
	if resp.IsFlexible() {
		frame = append(frame, 0)
	}
	frame = resp.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

func partitionFromSarama(id int32, block *sarama.ProduceResponseBlock) kmsg.ProduceResponseTopicPartition {
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.ErrorCode, p.BaseOffset, p.LogStartOffset = id, int16(block.Err), block.Offset, block.StartOffset
	p.LogAppendTime, p.ErrorMessage = -1, block.ErrorMessage
	if !block.Timestamp.IsZero() {
		p.LogAppendTime = block.Timestamp.UnixMilli()
	}
	for _, e := range block.RecordErrors {
		re := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		re.RelativeOffset, re.ErrorMessage = e.BatchIndex, e.BatchIndexErrorMessage
		p.ErrorRecords = append(p.ErrorRecords, re)
	}
	if l := block.CurrentLeader; l != nil {
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = l.LeaderID, l.LeaderEpoch
	}
	return p
}

// plainNetwork is clusterNetwork with sarama's transport.
type plainNetwork struct {
	clusterNetwork
	inFlight, level int
}

func (n plainNetwork) dial(ctx context.Context, broker int32) (transport, error) {
	conn, low, high, err := n.open(ctx, broker)
	if err != nil {
		return nil, err
	}
	return newPlainTransport(conn, low, high, n.inFlight, n.level), nil
}
