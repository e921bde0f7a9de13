//go:build kafka && unix

package faulttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/checker/trial"
	"github.com/klamm-io/klamm/internal/kafkatest"
)

// S2: TLS and SCRAM, with connections that are cut and a broker that is killed:
// each new connection logs in again.
func TestApacheTLSAndSCRAM(t *testing.T) {
	ctx := deadline(t)
	o := trialOptions()
	place(t, &o)
	o.Config = func(c *host.Config) {
		secured(c)
		c.Producer.RetryBackoff = ms(5)
	}
	tr, err := trial.Start(ctx, o)
	must(t, err)
	t.Cleanup(func() { must(t, tr.Close(context.WithoutCancel(ctx))) })
	must(t, tr.Load(ctx, records(2000)))
	must(t, brokers.Kill(1))
	must(t, tr.Load(ctx, records(1000)))
	leaderAway(t, ctx, tr, 1)
	must(t, brokers.Restart(1))
	settle(t, ctx)
	must(t, tr.Load(ctx, records(1000)))
	r := finish(t, ctx, tr)
	noneFailed(t, r)
	javaReads(t, ctx, tr, r)
}

func secured(c *host.Config) {
	c.Cluster.BootstrapServers = brokers.SecureAddrs()
	c.Cluster.TLS.Enabled, c.Cluster.TLS.CAFile = true, brokers.CAFile()
	c.Cluster.SASL.Mechanism, c.Cluster.SASL.Username, c.Cluster.SASL.Password = kafkatest.Mechanism, kafkatest.User, kafkatest.Password
}

// S2: what is wrong with a login or a certificate is said, and no password.
func TestApacheSecurityErrors(t *testing.T) {
	brokers = kafkatest.Three(t)
	for _, tt := range []struct {
		name string
		set  func(*host.Config)
		want string
	}{
		{"password", func(c *host.Config) { c.Cluster.SASL.Password = "guess-me" }, kafkatest.Mechanism},
		{"authority", func(c *host.Config) { c.Cluster.TLS.CAFile = "" }, "certificate"},
		{"server name", func(c *host.Config) { c.Cluster.TLS.ServerName = "kafka.example" }, "kafka.example"},
		{"plaintext to TLS", func(c *host.Config) { c.Cluster.TLS.Enabled, c.Cluster.TLS.CAFile = false, "" }, "TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cfg host.Config
			cfg.ApplyDefaults()
			secured(&cfg)
			cfg.Cluster.DialTimeout = ms(20_000)
			tt.set(&cfg)
			h, err := host.Connect(deadline(t), cfg)
			if err == nil {
				must(t, h.Close(deadline(t)))
				t.Fatal("it connected")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "guess-me") {
				t.Errorf("error %v: it must name %q, and no password", err, tt.want)
			}
		})
	}
}

// hostOn starts a host with a producer on the shared brokers.
func hostOn(t *testing.T, set func(*host.Config)) *host.Producer {
	t.Helper()
	var cfg host.Config
	cfg.ApplyDefaults()
	cfg.Cluster.BootstrapServers = brokers.Addrs()
	set(&cfg)
	h, err := host.New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, h.Close(deadline(t))) })
	p, err := h.Producer()
	must(t, err)
	return p
}

// Java's consumer reads what each codec wrote, and its segment tool finds the
// codec on disk.
func TestApacheCodecs(t *testing.T) {
	brokers = kafkatest.Three(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			ctx, topic := deadline(t), "codec-"+codec
			must(t, brokers.CreateTopic(ctx, topic, 1, nil))
			p := hostOn(t, func(c *host.Config) { must(t, c.Producer.Compression.UnmarshalText([]byte(codec))) })
			const n = 2000
			var want strings.Builder
			for i := range n {
				rec := &klamm.Record{
					Topic: topic, Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("x", i%200)),
					Headers: []klamm.Header{{Key: "h", Value: fmt.Append(nil, i)}},
				}
				fmt.Fprintf(&want, "h:%d\tkey-%d\t%s\n", i, i, rec.Value)
				must(t, p.SendAsync(ctx, rec, func(r klamm.Result) {
					if r.Err != nil {
						t.Error(r.Err)
					}
				}))
			}
			must(t, p.Flush(ctx))
			got, err := brokers.Consume(ctx, topic, n, "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true")
			must(t, err)
			if got != want.String() {
				t.Errorf("Java reads %d bytes, want %d: %.300q", len(got), want.Len(), got)
			}
			batches, err := brokers.Batches(ctx, topic)
			must(t, err)
			for _, b := range batches {
				if !b.Valid || !strings.EqualFold(b.Codec, codec) {
					t.Errorf("on disk: %+v, want valid and %s", b, codec)
				}
			}
		})
	}
}

// TestApacheFirstAcknowledgement says how long after a new leader is known the
// first record is acknowledged. It is a report: times are for benchmarks.
func TestApacheFirstAcknowledgement(t *testing.T) {
	brokers = kafkatest.Three(t)
	ctx := deadline(t)
	must(t, brokers.CreateTopic(ctx, "failover", 1, nil))
	p := hostOn(t, func(*host.Config) {})
	send := func(ctx context.Context) error {
		_, err := p.Send(ctx, &klamm.Record{Topic: "failover", Value: []byte("v")})
		return err
	}
	must(t, send(ctx))
	leader := func() int {
		leaders, err := brokers.Leaders(ctx, "failover")
		if err != nil || len(leaders) != 1 {
			return -1
		}
		return leaders[0]
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		old := leader()
		if old < 0 {
			t.Fatal("no leader")
		}
		must(t, brokers.Kill(old))
		killed := time.Now()
		acked := make(chan error, 1)
		go func() { acked <- send(ctx) }() // waits for the new leader
		for now := leader(); now < 0 || now == old; now = leader() {
			must(t, ctx.Err())
			time.Sleep(10 * time.Millisecond)
		}
		elected := time.Now()
		if err := <-acked; err != nil {
			t.Fatal(errors.Join(errors.New("the record that waited"), err))
		}
		t.Logf("new leader %v after the kill, first acknowledgement %v after that", elected.Sub(killed).Round(time.Millisecond), time.Since(elected).Round(time.Millisecond))
		must(t, brokers.Restart(old))
		settle(t, ctx)
	}
}
