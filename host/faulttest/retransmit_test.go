package faulttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

// closeSoon closes the producer, which may take a second for what is in flight
// and then must give up.
func closeSoon(t *testing.T, tr *trial.Trial) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	err := tr.Producer.Close(ctx)
	if took := time.Since(began); took > patience {
		t.Errorf("Close took %v: %v", took, err)
	}
}

// transmissions keeps the first transmission of each batch.
type transmissions struct {
	mu      sync.Mutex
	first   map[batchName][]byte
	again   int
	differ  int
	example batchName
}

type batchName struct {
	partition    int32
	producerID   int64
	epoch        int16
	baseSequence int32
}

// observe is called with every request. A record batch has its producer id at
// byte 43 (KIP-98).
func (x *transmissions) observe(_ int, key int16, frame []byte) {
	if key != produceKey {
		return
	}
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	head := kbin.Reader{Src: frame[8:]}
	head.NullableString()
	if req.IsFlexible() {
		kmsg.SkipTags(&head)
	}
	if req.ReadFrom(head.Src) != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			x.take(p.Partition, p.Records)
		}
	}
}

func (x *transmissions) take(partition int32, b []byte) {
	name := batchName{partition, int64(binary.BigEndian.Uint64(b[43:])), int16(binary.BigEndian.Uint16(b[51:])), int32(binary.BigEndian.Uint32(b[53:]))}
	first, ok := x.first[name]
	if !ok {
		x.first[name] = bytes.Clone(b)
		return
	}
	x.again++
	if !bytes.Equal(first, b) {
		x.differ++
		x.example = name
	}
}

// A13: a batch is not made again in the same way ("Unable to reconstruct
// MessageSet", librdkafka #4736).
func TestA13_RetransmissionsAreTheSameBytes(t *testing.T) {
	t.Parallel()
	x := &transmissions{first: map[batchName][]byte{}}
	tr, ctx := start(t, trial.Options{Observe: x.observe})
	tr.Proxy.Add(rule(faultproxy.CutBeforeReply, 0.1))
	tr.Proxy.Add(rule(faultproxy.CutInRequest, 0.05))
	fault(t, tr, kerr.NotEnoughReplicasAfterAppend, nil, every(9))
	must(t, tr.Load(ctx, records(4000)))
	allWritten(t, finish(t, ctx, tr))
	if x.again == 0 || x.differ > 0 {
		t.Errorf("%d of %d retransmissions differ from the first transmission, such as %+v", x.differ, x.again, x.example)
	}
}
