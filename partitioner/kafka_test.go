//go:build kafka && unix

package partitioner_test

import (
	"flag"
	"strconv"
	"testing"

	"github.com/klamm-io/klamm/internal/kafkatest"
)

var rewrite = flag.Bool("rewrite", false, "write Java's answers to testdata")

// TestJavaPartitions asks Kafka's own client about every key, and compares.
func TestJavaPartitions(t *testing.T) {
	keys, ours := javaCases()
	var counts []string
	for _, n := range vectorCounts {
		counts = append(counts, strconv.Itoa(n))
	}
	java := kafkatest.AskJava(t, "testdata/Partitions.java", keys, counts...)
	kafkatest.SameAnswers(t, keys, ours, java, javaBlock, "testdata/java-partitions.txt", *rewrite)
}
