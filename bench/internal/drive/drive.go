// Package drive is the side of a producer benchmark that runs in a process of its
// own: it drives one client and measures it. The benchmark talks to it over
// stdin and stdout, a line of JSON each.
package drive

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klamm-io/klamm/bench/internal/records"
)

// Config says what a driver drives.
type Config struct {
	Client     string   `json:"client"`
	Brokers    []string `json:"brokers"`
	Topic      string   `json:"topic"`
	Partitions int      `json:"partitions"`
	Size       int      `json:"size"`
	Codec      string   `json:"codec"`
	Plugins    string   `json:"plugins"` // none, go, c or native
	// Modules are the files of the plugins, by name.
	Modules map[string]string `json:"modules,omitempty"`
	// CacheDir keeps compiled plugins.
	CacheDir string `json:"cache_dir,omitempty"`
	// Profile is a file for a profile of all rounds.
	Profile string `json:"profile,omitempty"`
}

// Job is one round: the next Records records, at Rate a second (0: as fast as
// the client takes them), and their acknowledgements.
type Job struct {
	Records int `json:"records"`
	Rate    int `json:"rate"`
	// Checksum asks for the records' checksum.
	Checksum bool `json:"checksum"`
}

// Report is what a round gave.
type Report struct {
	Records int     `json:"records"` // handed to the client
	Unique  int     `json:"unique"`  // that were to arrive
	Seconds float64 `json:"seconds"` // until the last acknowledgement
	CPU     float64 `json:"cpu"`     // seconds of this process, user and system
	Allocs  float64 `json:"allocs"`  // of the Go heap
	P50     float64 `json:"p50_ms"`  // from Send to acknowledgement; with a Rate only
	P99     float64 `json:"p99_ms"`
	Sum     uint64  `json:"sum,omitempty"`
	Err     string  `json:"err,omitempty"`
}

// Client is a producer under test.
type Client interface {
	// Send hands over records from to to, in order, without waiting for
	// acknowledgements, and has acks told of each.
	Send(set *records.Set, from, to int, acks *Acks) error
	// Flush waits for the acknowledgements of all.
	Flush() error
	Close() error
}

// Open makes the client of a configuration.
type Open func(Config) (Client, error)

// Acks takes acknowledgements. It is safe for concurrent use.
type Acks struct {
	done   atomic.Int64
	failed atomic.Pointer[error]
	// Timed: how long each record took is wanted; then clients use DoneAt.
	Timed  bool
	first  int
	start  time.Time
	sent   []time.Duration
	mu     sync.Mutex
	delays []time.Duration
}

// Done tells of n acknowledgements.
func (a *Acks) Done(n int) { a.done.Add(int64(n)) }

// DoneAt tells that record n was acknowledged.
func (a *Acks) DoneAt(n int) {
	took := time.Since(a.start) - a.sent[n-a.first]
	a.mu.Lock()
	a.delays = append(a.delays, took)
	a.mu.Unlock()
	a.done.Add(1)
}

// Fail tells that a record was not written.
func (a *Acks) Fail(err error) { a.failed.CompareAndSwap(nil, &err) }

// Main serves rounds until stdin ends. It does not return.
func Main(open Open) {
	if err := serve(open, os.Args[len(os.Args)-1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(open Open, config string, in io.Reader, out io.Writer) (err error) {
	var cfg Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	client, err := open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if cfg.Profile != "" {
		f, err := os.Create(cfg.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	set := records.NewSet(cfg.Size)
	set.Duplicates = cfg.Plugins != "none"
	d := &driver{client: client, set: set}
	lines, answers := bufio.NewScanner(in), json.NewEncoder(out)
	for lines.Scan() {
		var job Job
		if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
			return err
		}
		if err := answers.Encode(d.round(job)); err != nil {
			return err
		}
	}
	return lines.Err()
}

type driver struct {
	client Client
	set    *records.Set
	next   int
}

// round makes its records first, then times what the client does with them.
func (d *driver) round(job Job) Report {
	from := d.next
	d.next += job.Records
	d.set.Fill(from, job.Records)
	acks := &Acks{Timed: job.Rate > 0, first: from}
	if acks.Timed {
		acks.sent = make([]time.Duration, job.Records)
		acks.delays = make([]time.Duration, 0, job.Records)
	}
	goruntime.GC()
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	cpu, start := CPUSeconds(), time.Now()
	acks.start = start
	err := d.send(job, from, acks)
	if err == nil {
		err = d.client.Flush()
	}
	r := Report{Records: job.Records, Seconds: time.Since(start).Seconds(), CPU: CPUSeconds() - cpu}
	goruntime.ReadMemStats(&after)
	r.Allocs = float64(after.Mallocs - before.Mallocs)
	r.Unique = d.set.Unique(from, job.Records)
	switch failed := acks.failed.Load(); {
	case err != nil:
		r.Err = err.Error()
	case failed != nil:
		r.Err = (*failed).Error()
	case acks.done.Load() != int64(job.Records):
		r.Err = fmt.Sprintf("%d acknowledgements of %d records", acks.done.Load(), job.Records)
	}
	if job.Checksum {
		r.Sum = d.set.Sum(from, job.Records)
	}
	r.P50, r.P99 = percentiles(acks.delays)
	return r
}

// tick is how often a paced driver sends what is due.
const tick = time.Millisecond

func (d *driver) send(job Job, from int, acks *Acks) error {
	if job.Rate == 0 {
		return d.client.Send(d.set, from, from+job.Records, acks)
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for sent := 0; sent < job.Records; {
		<-ticker.C
		elapsed := time.Since(acks.start)
		due := min(int(elapsed.Seconds()*float64(job.Rate)), job.Records)
		for i := sent; i < due; i++ {
			acks.sent[i] = elapsed
		}
		if err := d.client.Send(d.set, from+sent, from+due, acks); err != nil {
			return err
		}
		sent = due
	}
	return nil
}

// percentiles returns the median and the 99th percentile in milliseconds.
func percentiles(d []time.Duration) (p50, p99 float64) {
	if len(d) == 0 {
		return 0, 0
	}
	slices.Sort(d)
	at := func(p int) float64 { return d[(len(d)-1)*p/100].Seconds() * 1e3 }
	return at(50), at(99)
}
