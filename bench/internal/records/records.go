// Package records makes the records that all producers of a benchmark send: the
// same ones, so that a broker can tell whether it got them all.
package records

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
)

const (
	// KeyLen is the length of all keys, which are the records' ids.
	KeyLen = 24
	// DuplicateEvery is how often a record of a Set with Duplicates repeats the id
	// of an earlier one: 20 % of them do.
	DuplicateEvery = 5
	// duplicateSpan is how far back the id of a duplicate lies at most.
	duplicateSpan = 500_000

	values = 1024 // different ones
)

// Set makes the records of one producer, numbered from 0. Keys are made by Fill,
// outside of what is timed, and lie in memory until the next one, since most
// clients keep a record's bytes until its acknowledgement.
type Set struct {
	// Duplicates has every fifth record repeat the id of an earlier one.
	Duplicates bool

	values [][]byte
	keys   []byte
	first  int
}

// NewSet returns records of size bytes, key and value together. Values are JSON
// of fields that repeat and numbers that do not.
func NewSet(size int) *Set {
	s := &Set{values: make([][]byte, values)}
	random := rand.New(rand.NewPCG(uint64(size), 24))
	for i := range s.values {
		s.values[i] = value(random, size-KeyLen)
	}
	return s
}

func value(random *rand.Rand, size int) []byte {
	v := []byte(`{`)
	for len(v) < size {
		v = append(v, `"mag":`...)
		v = strconv.AppendInt(v, random.Int64N(1<<16), 10)
		v = append(v, `,"net":"`...)
		v = append(v, networks[random.IntN(len(networks))]...)
		v = append(v, `","time":`...)
		v = strconv.AppendInt(v, 1_700_000_000_000+random.Int64N(1<<32), 10)
		v = append(v, `,"felt":`...)
		v = strconv.AppendUint(v, random.Uint64(), 36)
		v = append(v, ',')
	}
	v = v[:max(size, 2)]
	v[len(v)-1] = '}'
	return v
}

var networks = []string{"ak", "ci", "hv", "nc", "nn", "pr", "us", "uu"}

// Fill makes the keys of n records from the first on.
func (s *Set) Fill(first, n int) {
	s.first = first
	if cap(s.keys) < n*KeyLen {
		s.keys = make([]byte, n*KeyLen)
	}
	s.keys = s.keys[:n*KeyLen]
	for i := range n {
		key(s.keys[i*KeyLen:(i+1)*KeyLen], s.id(first+i))
	}
}

// id is the number that makes the key of record n.
func (s *Set) id(n int) int {
	if !s.IsDuplicate(n) {
		return n
	}
	back := int(mix(uint64(n)) % uint64(min(n, duplicateSpan)))
	of := n - 1 - back
	if of%DuplicateEvery == DuplicateEvery-1 {
		of-- // itself a duplicate
	}
	return of
}

// IsDuplicate says whether record n repeats the id of an earlier one.
func (s *Set) IsDuplicate(n int) bool {
	return s.Duplicates && n%DuplicateEvery == DuplicateEvery-1
}

// Unique counts the records from the first on that are no duplicates.
func (s *Set) Unique(first, n int) int {
	if !s.Duplicates {
		return n
	}
	return n - ((first+n)/DuplicateEvery - first/DuplicateEvery)
}

const digits = "0123456789abcdef"

func key(dst []byte, id int) {
	copy(dst, "quake-id")
	n := mix(uint64(id))
	for i := range 16 {
		dst[8+i] = digits[n>>(60-4*i)&15]
	}
}

// mix is a bijection (splitmix64), so that different ids have different keys.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// Key returns the key of record n, which the last Fill made.
func (s *Set) Key(n int) []byte {
	at := (n - s.first) * KeyLen
	return s.keys[at : at+KeyLen : at+KeyLen]
}

// Value returns the value of record n. It is shared.
func (s *Set) Value(n int) []byte { return s.values[n%values] }

// Sum is the checksum of the n records from the first on that are no duplicates:
// the sum of their Checksums, whatever their order.
func (s *Set) Sum(first, n int) uint64 {
	sum := uint64(0)
	for i := first; i < first+n; i++ {
		if !s.IsDuplicate(i) {
			sum += Checksum(s.Key(i), s.Value(i))
		}
	}
	return sum
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is a record's share of a Sum.
func Checksum(key, value []byte) uint64 {
	k, v := crc32.Checksum(key, castagnoli), crc32.Checksum(value, castagnoli)
	return mix(uint64(k)<<32 | uint64(v))
}

// Partition spreads a key as a bare partitioner does, for clients that are given
// one.
func Partition(key []byte, partitions int) int32 {
	return int32(mix(binary.LittleEndian.Uint64(key[len(key)-8:])) % uint64(partitions))
}
