package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm/bench/internal/drive"
)

// javaTools are Kafka's own tools, fetched by Maven.
type javaTools struct {
	java, jars string
	err        error // why there are none
}

// findJava fetches the jars that producer/java/pom.xml names.
func findJava(ctx context.Context, root, cache string) *javaTools {
	t := &javaTools{jars: filepath.Join(cache, "kafka-tools")}
	if t.java, t.err = exec.LookPath("java"); t.err != nil {
		return t
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		t.err = err
		return t
	}
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", filepath.Join(root, "producer", "java", "pom.xml"),
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+t.jars)
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

// A round of Java is this long at least, since it begins with a cold virtual
// machine, and ProducerPerformance counts from there.
const (
	javaRecords  = 300_000
	javaRateTime = 3 // seconds
)

func (d *javaDriver) round(job drive.Job) (drive.Report, error) {
	rate, records := job.Rate, max(job.Records, javaRateTime*job.Rate)
	if rate == 0 {
		rate, records = -1, max(records, javaRecords)
	}
	cmd := exec.Command(d.tools.java, "-Xmx512m", "-cp", filepath.Join(d.tools.jars, "*"),
		"org.apache.kafka.tools.ProducerPerformance", "--topic", d.cfg.Topic,
		"--num-records", strconv.Itoa(records), "--record-size", strconv.Itoa(d.cfg.Size), "--throughput", strconv.Itoa(rate),
		"--producer-props", "bootstrap.servers="+strings.Join(d.cfg.Brokers, ","), "compression.type="+d.cfg.Codec,
		"acks=all", "enable.idempotence=true", "linger.ms=5")
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := onCore(clientCore, cmd.Start); err != nil {
		return drive.Report{}, err
	}
	if err := cmd.Wait(); err != nil {
		return drive.Report{}, fmt.Errorf("%w: %s", err, firstLine([]byte(said.String())))
	}
	r, err := parsePerformance(out.String())
	if err != nil {
		return r, err
	}
	r.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if job.Rate == 0 {
		r.P50, r.P99 = 0, 0
	}
	return r, nil
}

// summary is ProducerPerformance's last line.
var summary = regexp.MustCompile(`(\d+) records sent, ([\d.]+) records/sec .*, (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th`)

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
	r.Unique, r.Allocs, r.Seconds = r.Records, -1, float64(r.Records)/rate
	return r, err
}
