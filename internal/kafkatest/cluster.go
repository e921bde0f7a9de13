//go:build unix

package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Options of Start. The zero value is one broker, without TLS and SASL.
type Options struct {
	// Brokers is 1 or 3. With 3, topics have 3 copies of which 2 must be in sync.
	Brokers int
	// Secure adds a listener with TLS and SCRAM.
	Secure bool
	// Settings are further ones of every broker.
	Settings map[string]string
	// Features are levels that differ from the release's, as
	// "transaction.version=1".
	Features []string
}

// Cluster is running brokers. Brokers are numbered from 0.
type Cluster struct {
	o         Options
	dir       string
	classPath string
	nodes     []*node
	secure    *secure
	watcher   *watcher
	once      sync.Once
	closed    error
}

// clusterID is 16 zero bytes as Kafka writes them.
const clusterID = "AAAAAAAAAAAAAAAAAAAAAA"

// Start starts brokers and waits until they serve. Close ends them; if it is not
// called, they end with the process.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o.Brokers = max(o.Brokers, 1)
	c := &Cluster{o: o}
	if err := c.start(ctx); err != nil {
		if c.watcher != nil {
			err = errors.Join(err, c.Close())
		}
		return nil, fmt.Errorf("start %d brokers of Kafka %s: %w", o.Brokers, Version, err)
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	var err error
	if c.classPath, err = jars(); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "klamm-kafka-"); err != nil {
		return err
	}
	if c.watcher, err = startWatcher(c.dir); err != nil {
		return errors.Join(err, os.RemoveAll(c.dir))
	}
	if c.o.Secure {
		if c.secure, err = newSecure(c.dir); err != nil {
			return err
		}
	}
	ports, err := freePorts(ctx, 3*c.o.Brokers)
	if err != nil {
		return err
	}
	for i := range c.o.Brokers {
		c.nodes = append(c.nodes, &node{
			id: i + 1, dir: filepath.Join(c.dir, fmt.Sprint("broker-", i+1)),
			plain: ports[3*i], secure: ports[3*i+1], controller: ports[3*i+2],
		})
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.start(c.classPath, c.watcher); err != nil {
			return err
		}
	}
	return c.Await(ctx)
}

// format makes each broker's folder, all at once.
func (c *Cluster) format(ctx context.Context) error {
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { errs[i] = c.formatNode(ctx, n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) formatNode(ctx context.Context, n *node) error {
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		return err
	}
	if err := c.writeSettings(n); err != nil {
		return err
	}
	args := []string{"format", "-t", clusterID, "-c", n.config()}
	if c.secure != nil {
		args = append(args, "--add-scram", c.secure.user())
	}
	for _, f := range c.o.Features {
		args = append(args, "--feature", f)
	}
	_, err := Java(ctx, "kafka.tools.StorageTool", args...)
	return err
}

// Close kills the brokers and removes their folders. It may be called twice.
func (c *Cluster) Close() error {
	c.once.Do(func() {
		var errs []error
		for _, n := range c.nodes {
			errs = append(errs, n.kill(c.watcher))
		}
		c.closed = errors.Join(append(errs, c.watcher.end())...)
	})
	return c.closed
}

// Len returns how many brokers there are, running or not.
func (c *Cluster) Len() int { return len(c.nodes) }

// Addrs returns the brokers' addresses, as they advertise themselves.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.plain)
	}
	return addrs
}

// SecureAddrs returns the addresses with TLS and SCRAM.
func (c *Cluster) SecureAddrs() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.secure)
	}
	return addrs
}

// CAFile is the authority that signed the brokers' certificate, as PEM.
func (c *Cluster) CAFile() string { return c.secure.caFile }

// LogDir is the folder of a broker's partitions.
func (c *Cluster) LogDir(broker int) string { return c.nodes[broker].data() }

// Output returns the end of what a broker printed.
func (c *Cluster) Output(broker int) string { return c.nodes[broker].tail() }

// Kill is SIGKILL. It returns when the process is gone.
func (c *Cluster) Kill(broker int) error { return c.nodes[broker].kill(c.watcher) }

// Restart starts a broker that was killed. It does not wait until it serves.
func (c *Cluster) Restart(broker int) error {
	return c.nodes[broker].start(c.classPath, c.watcher)
}

// Stop is SIGSTOP: connections stay open and nothing is answered.
func (c *Cluster) Stop(broker int) error { return c.nodes[broker].signal(syscall.SIGSTOP) }

// Continue ends Stop.
func (c *Cluster) Continue(broker int) error { return c.nodes[broker].signal(syscall.SIGCONT) }

// awaitEvery is how often brokers are asked whether they are there yet.
const awaitEvery = 200 * time.Millisecond

// Await waits until all brokers serve and each partition has a leader and all
// its copies in sync.
func (c *Cluster) Await(ctx context.Context) error {
	for {
		err := c.healthy(ctx)
		if err == nil {
			return nil
		}
		for i, n := range c.nodes {
			if n.ended(c.watcher) {
				return fmt.Errorf("broker %d ended: %w\n%s", i, err, n.tail())
			}
		}
		select {
		case <-time.After(awaitEvery):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
