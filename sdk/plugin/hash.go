package plugin

import "hash/crc32"

// Murmur2 returns Kafka's hash of a key with the sign bit cleared, so that
// Murmur2(key) % Partitions() is the partition that Java's and Klamm's default
// partitioners choose.
func Murmur2(key []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	i := uint32(0)
	// Two words at a time: rounds are what loops cost in Go's WebAssembly.
	for ; i+8 <= uint32(len(key)); i += 8 {
		w := u64(key, i)
		k1, k2 := uint32(w)*m, uint32(w>>32)*m
		k1 ^= k1 >> r
		k2 ^= k2 >> r
		h = (h*m^k1*m)*m ^ k2*m
	}
	if i+4 <= uint32(len(key)) {
		k := u32(key, i) * m
		k ^= k >> r
		h = h*m ^ k*m
		i += 4
	}
	switch rest := key[i:]; len(rest) {
	case 3:
		h ^= uint32(rest[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(rest[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(rest[0])) * m
	}
	h = (h ^ h>>13) * m
	return (h ^ h>>15) & 0x7fffffff
}

// CRC32 returns the IEEE checksum that librdkafka's consistent partitioner uses.
func CRC32(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

// FNV1a returns the 32-bit FNV-1a hash, which sarama's hash partitioner uses.
func FNV1a(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}
