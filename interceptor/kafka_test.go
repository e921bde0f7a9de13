//go:build kafka && unix

package interceptor

import (
	"flag"
	"testing"

	"github.com/klamm-io/klamm/internal/kafkatest"
)

var rewrite = flag.Bool("rewrite", false, "write what Java's chains do to testdata")

// TestJavaChains has Kafka's own ProducerInterceptors run every case, and
// compares.
func TestJavaChains(t *testing.T) {
	cases := javaCases()
	java := kafkatest.AskJava(t, "testdata/Chain.java", cases)
	kafkatest.SameAnswers(t, cases, tryAll(t, cases), java, javaBlock, "testdata/java-chains.txt", *rewrite)
}
