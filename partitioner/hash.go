package partitioner

import (
	"hash/crc32"

	"github.com/klamm-io/klamm"
)

// CRC32 returns librdkafka's default partitioner, consistent_random: the CRC-32
// of the key modulo the number of partitions, and a random available partition
// for records whose key is null or empty. Safe for concurrent use.
func CRC32() Partitioner { return crc{random} }

type crc struct{ rand func() uint32 }

func (p crc) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	if err := t.check(); err != nil {
		return klamm.NoPartition, err
	}
	if len(rec.Key) == 0 {
		return t.any(p.rand()), nil
	}
	return t.Partitions[crc32.ChecksumIEEE(rec.Key)%uint32(len(t.Partitions))], nil
}

// FNV1a returns sarama's default partitioner (NewHashPartitioner): the FNV-1a
// hash of the key as a signed number modulo the number of partitions, turned
// positive after that, and a random available partition for records without a
// key. An empty key is hashed. Safe for concurrent use.
func FNV1a() Partitioner { return fnv1a{random} }

type fnv1a struct{ rand func() uint32 }

func (p fnv1a) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	if err := t.check(); err != nil {
		return klamm.NoPartition, err
	}
	if rec.Key == nil {
		return t.any(p.rand()), nil
	}
	i := int32(hashFNV1a(rec.Key)) % int32(len(t.Partitions))
	if i < 0 {
		i = -i
	}
	return t.Partitions[i], nil
}

func hashFNV1a(key []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range key {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}
