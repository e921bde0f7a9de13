//go:build unix

package partitioner_test

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klamm-io/klamm/internal/kafkatest"
	"github.com/klamm-io/klamm/partitioner"
)

// Keys that Kafka's Java client was asked about, in blocks. A block's line in
// java-partitions.txt is the digest of what it answered for each key: hash, and
// partition among each of vectorCounts. TestJavaPartitions asks again.
const (
	javaBlocks = 400
	javaBlock  = 300
)

//go:embed testdata/java-partitions.txt
var javaDigests string

// javaKeys are a block's: of every length from 0 to 257, then random ones, some
// of ASCII alone, some of bytes above 127.
func javaKeys(block int) [][]byte {
	r := rand.New(rand.NewPCG(2, uint64(block)))
	keys := make([][]byte, javaBlock)
	for i := range keys {
		n := i
		if n > 257 {
			n = r.IntN(64)
		}
		low, span := 0, 256
		switch i % 3 {
		case 1:
			low, span = ' ', 95
		case 2:
			low, span = 128, 128
		}
		keys[i] = make([]byte, n)
		for j := range keys[i] {
			keys[i][j] = byte(low + r.IntN(span))
		}
	}
	return keys
}

// answer is ours, in the words of testdata/Partitions.java.
func answer(key []byte) string {
	var b strings.Builder
	fmt.Fprint(&b, int32(partitioner.Murmur2(key)))
	for _, n := range vectorCounts {
		fmt.Fprint(&b, " ", partitioner.KeyPartition(key, n))
	}
	return b.String()
}

func javaCases() (keys, ours []string) {
	for block := range javaBlocks {
		for _, key := range javaKeys(block) {
			keys, ours = append(keys, hex.EncodeToString(key)), append(ours, answer(key))
		}
	}
	return keys, ours
}

// TestC047_AsJavaAnswered compares 120,000 keys with what Java's client makes of
// them.
func TestC047_AsJavaAnswered(t *testing.T) {
	_, ours := javaCases()
	kafkatest.SameDigests(t, kafkatest.Digests(ours, javaBlock), javaDigests)
}
