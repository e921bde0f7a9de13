package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/bench/internal/child"
	"github.com/klamm-io/klamm/bench/internal/drive"
)

// javaTools are Kafka's own tools, fetched by Maven.
type javaTools struct {
	java, jars string
	err        error // why there are none
}

var kafkaVersion = regexp.MustCompile(`<kafka\.version>([\w.]+)</kafka\.version>`)

// findJava fetches the jars that producer/java/pom.xml names.
func findJava(ctx context.Context, root, cache string) *javaTools {
	t := &javaTools{}
	pom := filepath.Join(root, "producer", "java", "pom.xml")
	text, err := os.ReadFile(pom)
	if err != nil {
		t.err = err
		return t
	}
	version := kafkaVersion.FindSubmatch(text)
	if version == nil {
		t.err = fmt.Errorf("%s names no kafka.version", pom)
		return t
	}
	t.jars = filepath.Join(cache, "kafka-tools-"+string(version[1]))
	if t.java, t.err = exec.LookPath("java"); t.err != nil {
		return t
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		t.err = err
		return t
	}
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+t.jars)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.err = fmt.Errorf("fetch Kafka's tools: %w: %s", err, firstLine(said))
	}
	return t
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// javaDriver runs ProducerPerformance, a new process for each round.
type javaDriver struct {
	tools *javaTools
	cfg   drive.Config
}

func (k *kit) startJava(ctx context.Context, cfg drive.Config) (driver, error) {
	if k.java == nil {
		k.java = findJava(ctx, k.root, k.cache)
	}
	if k.java.err != nil {
		return nil, &missing{k.java.err}
	}
	return &javaDriver{k.java, cfg}, nil
}

func (d *javaDriver) close() error { return nil }

// A round of Java is a new process, whose first records go through code that is
// interpreted or just compiled: they are sent and not counted.
const (
	javaWarm     = 800_000
	javaRecords  = 600_000 // counted ones, at least, when sent as fast as can be
	javaRateWarm = 3       // seconds, at a fixed rate
	javaRateTime = 1       // seconds, counted, at least
)

// Keys are numbers below javaKeys, so nearly all have as many digits.
const (
	javaKeys     = 1_000_000_000
	javaKeyBytes = 9
)

func (d *javaDriver) round(job drive.Job) (drive.Report, error) {
	rate, warm, records := job.Rate, javaRateWarm*job.Rate, max(job.Records, javaRateTime*job.Rate)
	if rate == 0 {
		rate, warm, records = -1, javaWarm, max(records, javaRecords)
	}
	cmd := exec.Command(d.tools.java, "-Xmx512m", "-cp", filepath.Join(d.tools.jars, "*"),
		"org.apache.kafka.tools.ProducerPerformance", "--topic", d.cfg.Topic,
		"--num-records", strconv.Itoa(warm+records), "--warmup-records", strconv.Itoa(warm), "--throughput", strconv.Itoa(rate),
		"--record-size", strconv.Itoa(d.cfg.Size-javaKeyBytes), "--key-distribution", "random", "--record-key-range", strconv.Itoa(javaKeys),
		"--command-property", "bootstrap.servers="+strings.Join(d.cfg.Brokers, ","), "compression.type="+d.cfg.Codec,
		"acks=all", "enable.idempotence=true", "linger.ms=5")
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := child.OnCore(child.ClientCore, cmd.Start); err != nil {
		return drive.Report{}, err
	}
	if err := cmd.Wait(); err != nil {
		return drive.Report{}, fmt.Errorf("%w: %s", err, firstLine([]byte(said.String())))
	}
	r, err := parsePerformance(out.String())
	if err != nil {
		return r, err
	}
	// Of the process's processor time, compiling included, each record has the
	// same share.
	r.Unique = warm + r.Records
	r.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() * float64(r.Records) / float64(r.Unique)
	if job.Rate == 0 {
		r.P50, r.P99 = 0, 0
	}
	return r, nil
}

// summary is ProducerPerformance's last line, without the records of the warm-up.
var summary = regexp.MustCompile(`(\d+) steady state records sent, ([\d.]+) records/sec .*, (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th`)

func parsePerformance(out string) (r drive.Report, err error) {
	m := summary.FindStringSubmatch(out)
	if m == nil {
		return r, errors.New("ProducerPerformance printed no summary")
	}
	var rate float64
	r.Records, err = strconv.Atoi(m[1])
	for i, v := range []*float64{&rate, &r.P50, &r.P99} {
		if err == nil {
			*v, err = strconv.ParseFloat(m[i+2], 64)
		}
	}
	r.Allocs, r.Seconds = -1, float64(r.Records)/rate
	return r, err
}
