//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
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
	return c.consume(ctx, topic, n, patience, args...)
}

// How long Java's consumer waits for a further record.
const (
	patience = 2 * time.Minute // a coordinator may be on its way
	quiet    = 10 * time.Second
)

func (c *Cluster) consume(ctx context.Context, topic string, n int, wait time.Duration, args ...string) (string, error) {
	return Java(ctx, "org.apache.kafka.tools.consumer.ConsoleConsumer", append([]string{
		"--bootstrap-server", strings.Join(c.Addrs(), ","), "--topic", topic, "--from-beginning", "--isolation-level", "read_committed",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", strconv.FormatInt(wait.Milliseconds(), 10),
	}, args...)...)
}

// First returns how many of the first n committed records of a topic Java's console
// consumer finds, each at a place of its own. It does not look for more: where
// Batches counts what is on the disks there is no need to wait for what does not come.
func (c *Cluster) First(ctx context.Context, topic string, n int) (int, error) {
	return c.count(ctx, topic, n, patience)
}

// Count is First of all records. It expects n and looks for one more, so that too
// many are found as well as too few, for which it waits.
func (c *Cluster) Count(ctx context.Context, topic string, n int) (int, error) {
	found, err := c.count(ctx, topic, n+1, quiet)
	if err == nil && found < n { // were they late?
		found, err = c.count(ctx, topic, n+1, patience)
	}
	return found, err
}

func (c *Cluster) count(ctx context.Context, topic string, most int, wait time.Duration) (int, error) {
	out, err := c.consume(ctx, topic, most, wait, "--formatter-property", "print.value=false",
		"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true")
	places := map[string]bool{}
	for line := range strings.Lines(out) {
		if places[line] {
			return 0, fmt.Errorf("topic %q: Java's consumer got %q twice", topic, strings.TrimSpace(line))
		}
		places[line] = true
	}
	return len(places), err
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
