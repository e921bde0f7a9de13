package saramaplugin

import (
	"bytes"
	"unsafe"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// recordOf shows a message to plugins. Its encoders run here, once; what sarama
// gets are their bytes.
func recordOf(msg *sarama.ProducerMessage) (klamm.Record, error) {
	rec := klamm.Record{Topic: msg.Topic, Timestamp: msg.Timestamp}
	var err error
	if rec.Key, err = encode(msg.Key); err != nil {
		return rec, err
	}
	if rec.Value, err = encode(msg.Value); err != nil {
		return rec, err
	}
	if len(msg.Headers) > 0 {
		rec.Headers = make([]klamm.Header, len(msg.Headers))
		for i, h := range msg.Headers {
			rec.Headers[i] = klamm.Header{Key: string(h.Key), Value: h.Value}
		}
	}
	return rec, nil
}

// encode keeps null and empty apart: no encoder, or one that gives nil, is null.
func encode(e sarama.Encoder) ([]byte, error) {
	if e == nil {
		return nil, nil
	}
	return e.Encode()
}

func encoder(b []byte) sarama.Encoder {
	if b == nil {
		return nil
	}
	return sarama.ByteEncoder(b)
}

// owned returns bytes that outlive the batch: those that were there before are
// the user's, those of an edit are copied.
func owned(now, before []byte) []byte {
	if now == nil || sameBytes(now, before) {
		return now
	}
	return append(make([]byte, 0, len(now)), now...)
}

// sameBytes reports whether both are one slice.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (a == nil) == (b == nil) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

func sameHeaders(a, b []klamm.Header) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

// headersOf returns the message's headers where no plugin changed them.
func headersOf(rec, before *klamm.Record, own []sarama.RecordHeader) []sarama.RecordHeader {
	if sameHeaders(rec.Headers, before.Headers) {
		return own
	}
	hs := make([]sarama.RecordHeader, len(rec.Headers))
	for i, h := range rec.Headers {
		hs[i] = sarama.RecordHeader{Key: []byte(h.Key), Value: bytes.Clone(h.Value)}
	}
	return hs
}

// recordRead shows a message that was read to plugins.
func recordRead(msg *sarama.ConsumerMessage) klamm.Record {
	rec := klamm.Record{
		Topic: msg.Topic, Partition: msg.Partition, Offset: msg.Offset, LeaderEpoch: -1,
		Key: msg.Key, Value: msg.Value, Timestamp: msg.Timestamp,
	}
	for _, h := range msg.Headers {
		if h != nil {
			rec.Headers = append(rec.Headers, klamm.Header{Key: string(h.Key), Value: h.Value})
		}
	}
	return rec
}

// messageRead returns the message with what plugins changed: itself where
// nothing was. Topic, Partition and Offset stay, since they are what is marked.
func messageRead(msg *sarama.ConsumerMessage, rec, before *klamm.Record) *sarama.ConsumerMessage {
	same := sameHeaders(rec.Headers, before.Headers)
	if same && sameBytes(rec.Key, before.Key) && sameBytes(rec.Value, before.Value) && rec.Timestamp.Equal(before.Timestamp) {
		return msg
	}
	cp := *msg
	cp.Key, cp.Value, cp.Timestamp = owned(rec.Key, before.Key), owned(rec.Value, before.Value), rec.Timestamp
	if !same {
		cp.Headers = make([]*sarama.RecordHeader, len(rec.Headers))
		for i, h := range rec.Headers {
			cp.Headers[i] = &sarama.RecordHeader{Key: []byte(h.Key), Value: bytes.Clone(h.Value)}
		}
	}
	return &cp
}
