//go:build unix

package kafkatest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Java runs the main class of one of Kafka's tools, or a .java file, and returns
// what it printed to its standard output. It needs no broker.
func Java(ctx context.Context, class string, args ...string) (string, error) {
	classPath, err := jars()
	if err != nil {
		return "", err
	}
	flags := append(javaFlags("256m"), "-cp", classPath, class)
	out, err := exec.CommandContext(ctx, "java", append(flags, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s%s", err, exit.Stderr, out)
	}
	if err != nil {
		return string(out), fmt.Errorf("java %s %q: %w", class, args, err)
	}
	return string(out), nil
}

// Consume reads n records of a topic from its start with Java's console consumer,
// committed ones alone, and returns what it prints. Further arguments, such as
// "--formatter-property", "print.key=true", are the tool's own.
func (c *Cluster) Consume(ctx context.Context, topic string, n int, args ...string) (string, error) {
	return Java(ctx, "org.apache.kafka.tools.consumer.ConsoleConsumer", append([]string{
		"--bootstrap-server", strings.Join(c.Addrs(), ","), "--topic", topic, "--from-beginning", "--isolation-level", "read_committed",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", strconv.FormatInt(patience.Milliseconds(), 10),
	}, args...)...)
}

// patience is how long Java's consumer waits for a further record: a coordinator
// may be on its way.
const patience = 2 * time.Minute

//go:embed Count.java
var countJava []byte

// Count returns how many committed records of a topic Java's consumer finds before
// its end, each at a place of its own. An open transaction is an end too.
func (c *Cluster) Count(ctx context.Context, topic string) (int, error) {
	source := filepath.Join(c.dir, "Count.java")
	if err := os.WriteFile(source, countJava, 0o600); err != nil {
		return 0, err
	}
	out, err := Java(ctx, source, strings.Join(c.Addrs(), ","), topic)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// Dump prints a topic as it lies on the disks of its leaders, with Java's
// DumpLogSegments: batches, each with its CRC checked, and with records their
// contents, decompressed.
func (c *Cluster) Dump(ctx context.Context, topic string, records bool) (string, error) {
	leaders, err := c.Leaders(ctx, topic)
	if err != nil {
		return "", err
	}
	var files []string
	for p, broker := range leaders {
		if broker < 0 {
			return "", fmt.Errorf("%s/%d has no leader", topic, p)
		}
		segments, err := filepath.Glob(filepath.Join(c.nodes[broker].data(), fmt.Sprintf("%s-%d", topic, p), "*.log"))
		if err != nil || len(segments) == 0 {
			return "", fmt.Errorf("broker %d has no segment of %s/%d: %v", broker, topic, p, err)
		}
		slices.Sort(segments)
		files = append(files, segments...)
	}
	args := []string{"--files", strings.Join(files, ",")}
	if records {
		args = append(args, "--deep-iteration", "--print-data-log")
	}
	return Java(ctx, "org.apache.kafka.tools.DumpLogSegments", args...)
}

// Batch is a record batch on a disk.
type Batch struct {
	File                          string
	Base                          int64 // offset
	Count, Sequence, Epoch        int
	Codec                         string // "NONE", "ZSTD", ...
	Valid, Control, Transactional bool
}

// Batches are those of a topic, of each partition in order.
func (c *Cluster) Batches(ctx context.Context, topic string) ([]Batch, error) {
	out, err := c.Dump(ctx, topic, false)
	if err != nil {
		return nil, err
	}
	var batches []Batch
	file := ""
	for line := range strings.Lines(out) {
		if f, ok := strings.CutPrefix(line, "Dumping "); ok {
			file = strings.TrimSpace(f)
		}
		if !strings.HasPrefix(line, "baseOffset: ") {
			continue
		}
		b := Batch{File: file}
		fields := strings.Fields(line)
		var errs []error
		number := func(text string) int64 {
			n, err := strconv.ParseInt(text, 10, 64)
			errs = append(errs, err)
			return n
		}
		for i := 0; i+1 < len(fields); i += 2 {
			switch text := fields[i+1]; fields[i] {
			case "baseOffset:":
				b.Base = number(text)
			case "count:":
				b.Count = int(number(text))
			case "baseSequence:":
				b.Sequence = int(number(text))
			case "producerEpoch:":
				b.Epoch = int(number(text))
			case "compresscodec:":
				b.Codec = strings.ToUpper(text)
			case "isvalid:":
				b.Valid = text == "true"
			case "isControl:":
				b.Control = text == "true"
			case "isTransactional:":
				b.Transactional = text == "true"
			}
		}
		if err := errors.Join(errs...); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		batches = append(batches, b)
	}
	return batches, nil
}
