package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/klamm-io/klamm/bench/internal/child"
	"github.com/klamm-io/klamm/bench/internal/clients"
	"github.com/klamm-io/klamm/bench/internal/drive"
	"github.com/klamm-io/klamm/bench/internal/rounds"
)

// driveCommand is the hidden command that drives a client.
const driveCommand = "drive-client"

func serveClient(string, io.Reader, io.Writer, io.Writer) int {
	drive.Main(clients.Open)
	return 0
}

// contender is a client with its plugins, in a process that lives for all
// rounds of one size and codec.
type contender struct {
	name, plugins string
	topic         string
	driver        driver
	records       int // in a round
	reports       []drive.Report
	paced         []drive.Report
}

// driver is who runs the rounds of one client.
type driver interface {
	round(drive.Job) (drive.Report, error)
	close() error
}

// measure runs everything that the options ask for.
func measure(ctx context.Context, o options, log io.Writer) (all []row, err error) {
	if !child.Pinned {
		fmt.Fprintln(log, "this system cannot give a process one core: clients and broker share all of them")
	}
	b, err := startBroker(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.broker == "sink" {
		fmt.Fprintln(log, "the broker is a sink in a process of its own: it checks and counts batches, and stores nothing")
	}
	kit := &kit{o: o, log: log}
	for _, size := range o.sizes {
		for _, codec := range o.codecs {
			rows, err := measureOne(ctx, o, kit, b, size, codec, log)
			if err != nil {
				return all, fmt.Errorf("%d B, %s: %w", size, codec, err)
			}
			all = append(all, rows...)
		}
	}
	return all, nil
}

// measureOne has all clients take turns at one size and codec.
func measureOne(ctx context.Context, o options, kit *kit, b counter, size int, codec string, log io.Writer) (rows []row, err error) {
	all, err := kit.open(ctx, b, size, codec)
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.driver.close())
		}
	}()
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		fmt.Fprintf(log, "%d B, %s: %s with plugins %s: first records\n", size, codec, c.name, c.plugins)
		if err := c.warmUp(o, b); err != nil {
			return nil, fmt.Errorf("%s, plugins %s: %w", c.name, c.plugins, err)
		}
	}
	for n := range o.rounds {
		fmt.Fprintf(log, "%d B, %s: round %d of %d\n", size, codec, n+1, o.rounds)
		for i := range all {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			c := all[(i+n)%len(all)]
			if err := c.turn(o, b); err != nil {
				return nil, fmt.Errorf("%s, plugins %s: %w", c.name, c.plugins, err)
			}
		}
	}
	for _, c := range all {
		rows = append(rows, c.row(size, codec))
	}
	return rows, nil
}

// firstRecords are those whose content is checked.
const firstRecords = 20_000

// warmUp sends records whose content the broker checks, then finds out how many
// records a round takes.
func (c *contender) warmUp(o options, b counter) error {
	if err := b.deep(true); err != nil {
		return err
	}
	if _, err := c.run(b, drive.Job{Records: firstRecords, Checksum: true}); err != nil {
		return err
	}
	if err := b.deep(false); err != nil {
		return err
	}
	r, err := c.run(b, drive.Job{Records: o.warm})
	if err != nil {
		return err
	}
	c.records = max(int(float64(o.warm)/r.Seconds*o.time.Seconds()), firstRecords)
	return nil
}

// turn is one round of a contender: as fast as it goes, then at a fixed rate.
func (c *contender) turn(o options, b counter) error {
	r, err := c.run(b, drive.Job{Records: c.records})
	if err != nil {
		return err
	}
	c.reports = append(c.reports, r)
	if o.rate == 0 {
		return nil
	}
	r, err = c.run(b, drive.Job{Records: int(float64(o.rate) * o.rateTime.Seconds()), Rate: o.rate})
	c.paced = append(c.paced, r)
	return err
}

// run does one round and has the broker say whether everything arrived.
func (c *contender) run(b counter, job drive.Job) (drive.Report, error) {
	r, err := c.driver.round(job)
	if err != nil {
		return r, err
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	got, err := b.take(c.topic)
	switch {
	case err != nil:
		return r, err
	case got.Bad != "":
		return r, fmt.Errorf("the broker was sent nonsense: %s", got.Bad)
	case got.Records != int64(r.Unique):
		return r, fmt.Errorf("the broker got %d records, not %d", got.Records, r.Unique)
	case job.Checksum && got.Sum != 0 && r.Sum != 0 && got.Sum != r.Sum:
		return r, errors.New("the broker got other records than those that were sent")
	}
	return r, nil
}

func (c *contender) row(size int, codec string) row {
	per := func(reports []drive.Report, f func(drive.Report) float64) *float64 {
		var all []float64
		for _, r := range reports {
			if v := f(r); v >= 0 {
				all = append(all, v)
			}
		}
		if len(all) == 0 {
			return nil
		}
		v := rounds.Median(all)
		return &v
	}
	out := row{Client: c.name, Plugins: c.plugins, Size: size, Codec: codec}
	out.Rate = *per(c.reports, func(r drive.Report) float64 { return float64(r.Records) / r.Seconds })
	out.CPU = per(c.reports, func(r drive.Report) float64 { return r.CPU / float64(r.Records) * 1e6 })
	out.Allocs = per(c.reports, func(r drive.Report) float64 { return r.Allocs / float64(r.Records) })
	out.P50 = per(c.paced, func(r drive.Report) float64 { return r.P50 })
	out.P99 = per(c.paced, func(r drive.Report) float64 { return r.P99 })
	return out
}

// goDriver is a driver written in Go, in a child process.
type goDriver struct{ *child.Process }

func (d goDriver) close() error { return d.Close() }

func (d goDriver) round(job drive.Job) (r drive.Report, err error) {
	return r, d.Call(job, &r)
}

func (k *kit) config(b counter, c *contender, size int, codec string) drive.Config {
	cfg := drive.Config{
		Client: c.name, Brokers: b.addrs(), Topic: c.topic, Partitions: k.o.partitions,
		Size: size, Codec: codec, Plugins: c.plugins, CacheDir: k.cache,
	}
	if k.o.profile != "" {
		cfg.Profile = filepath.Join(k.o.profile, c.topic+".pprof")
	}
	return cfg
}

// topicOf is a topic for each contender, so that counts are its own.
func topicOf(name, plugins string, size int, codec string) string {
	return strings.Join([]string{name, plugins, fmt.Sprint(size), codec, fmt.Sprint(time.Now().UnixMilli())}, "-")
}

// settings says how a client is set up.
func settings(name string) string {
	if s, ok := clients.Settings[name]; ok {
		return s
	}
	return otherSettings[name]
}
