//go:build unix

package kafkatest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// Digests has a line for each block of answers: what Java answered, short enough
// for the tree, so that tests without Java compare as well.
func Digests(answers []string, block int) string {
	var b strings.Builder
	for len(answers) > 0 {
		n := min(block, len(answers))
		sum := sha256.Sum256([]byte(strings.Join(answers[:n], "\n")))
		b.WriteString(hex.EncodeToString(sum[:8]) + "\n")
		answers = answers[n:]
	}
	return b.String()
}

// SameDigests fails the test where our answers have other digests than Java's.
func SameDigests(t *testing.T, ours, java string) {
	t.Helper()
	got, want := strings.Fields(ours), strings.Fields(java)
	if len(got) != len(want) {
		t.Fatalf("there are %d blocks, want %d", len(want), len(got))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("block %d has the digest %s, Java's is %s; with the tag kafka a test names the cases", i, got[i], want[i])
		}
	}
}

// SameAnswers fails the test where one of ours is not what Java answered, and
// where the file of Java's digests is out of date; rewrite makes it anew.
func SameAnswers(t *testing.T, cases, ours, java []string, block int, file string, rewrite bool) {
	t.Helper()
	if len(java) != len(cases) {
		t.Fatalf("Java answered %d of %d cases", len(java), len(cases))
	}
	for i, c := range cases {
		if ours[i] != java[i] {
			t.Errorf("case %q\n got %s\nJava %s", c, ours[i], java[i])
		}
	}
	digests := Digests(java, block)
	if rewrite {
		if err := os.WriteFile(file, []byte(digests), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != digests {
		t.Errorf("%s is not what Java answers; run with -rewrite: %v", file, err)
	}
	t.Logf("%d cases, Kafka %s", len(cases), Version)
}

// AskJava writes the cases to a file, one in each line, runs a .java file with it
// and further arguments, and returns the lines of its answer.
func AskJava(t *testing.T, program string, cases []string, args ...string) []string {
	t.Helper()
	file := t.TempDir() + "/cases"
	if err := os.WriteFile(file, []byte(strings.Join(cases, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := Java(t.Context(), program, append([]string{file}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}
