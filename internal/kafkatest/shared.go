//go:build unix

package kafkatest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// startLimit bounds the start of a cluster on a busy machine.
const startLimit = 3 * time.Minute

var (
	one   = sync.OnceValues(func() (*Cluster, error) { return startShared(1) })
	three = sync.OnceValues(func() (*Cluster, error) { return startShared(3) })
)

func startShared(brokers int) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return Start(ctx, Options{Brokers: brokers, Secure: true})
}

// One returns the one broker that the tests of a process share. It ends with the
// process.
func One(t testing.TB) *Cluster { return shared(t, one) }

// Three returns the three brokers that the tests of a process share.
func Three(t testing.TB) *Cluster { return shared(t, three) }

func shared(t testing.TB, get func() (*Cluster, error)) *Cluster {
	t.Helper()
	c, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Fresh returns the shared broker with these topics alone. Tests that use it do
// not run at the same time as others that do.
func Fresh(t testing.TB, partitions int, topics ...string) *Cluster {
	t.Helper()
	c := One(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		if err := c.CreateTopic(ctx, topic, int32(partitions), nil); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
