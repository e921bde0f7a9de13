package partitioner

import "encoding/binary"

// Murmur2 is the hash of Kafka's Java client (org.apache.kafka Utils.murmur2),
// as its 32 bits. A key's partition is the hash without its sign bit, modulo
// the number of all partitions; see KeyPartition.
func Murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// KeyPartition returns the index that Kafka's Java client gives a key among n
// partitions, those without a leader included. n must be positive.
//
// The sign bit is masked, not turned (Utils.toPositive): with abs, two of five
// keys would land on another partition than a Java producer's.
func KeyPartition(key []byte, n int) int {
	return int(Murmur2(key)&0x7fffffff) % n
}
