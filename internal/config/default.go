package config

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"time"
)

// Default returns a configuration in which every setting has its default: the
// embedded broker, no plugins, no pipelines.
func Default() Config {
	return Config{
		Version:  1,
		Host:     Host{DrainTimeout: seconds(30)},
		Cluster:  defaultCluster(),
		Producer: defaultProducer(),
		Consumer: defaultConsumer(),
		Plugins:  defaultPlugins(),
		Admin:    Admin{Listen: "127.0.0.1:8686"},
		Log:      Log{Level: "info", Format: "auto"},
	}
}

func defaultCluster() Cluster {
	return Cluster{
		BootstrapServers: []string{"embedded"},
		ClientID:         "klamm",
		DialTimeout:      seconds(10),
		MetadataMaxAge:   seconds(300),
		MetadataMaxIdle:  seconds(300),
		MetadataRecovery: "rebootstrap",

		ReconnectBackoff:    millis(50),
		ReconnectBackoffMax: seconds(1),
		ConnectionsMaxIdle:  seconds(540),

		Embedded: Embedded{Listen: "127.0.0.1:0", Partitions: 4},
	}
}

func defaultProducer() Producer {
	return Producer{
		Acks:                AcksAll,
		EnableIdempotence:   nil, // true unless something else forbids it; see ApplyDefaults
		MaxInFlight:         5,
		Retries:             math.MaxInt32,
		Linger:              millis(5),
		BatchSize:           16 << 10,
		BufferMemory:        32 << 20,
		MaxBlock:            seconds(60),
		DeliveryTimeout:     seconds(120),
		RequestTimeout:      seconds(30),
		RetryBackoff:        millis(100),
		RetryBackoffMax:     seconds(1),
		MaxRequestSize:      1 << 20,
		Compression:         CompressionNone,
		Partitioner:         "default",
		PartitionerAdaptive: boolean(true),
		Transport:           "klamm",
		TransactionTimeout:  seconds(60),
		Slots:               131072,
	}
}

func defaultConsumer() Consumer {
	return Consumer{
		AutoOffsetReset:  "earliest",
		IsolationLevel:   "read_committed",
		EnableAutoCommit: boolean(true),
		AutoCommit:       seconds(5),
		MaxPollRecords:   500,
		FetchMinBytes:    1,
		FetchMaxBytes:    1 << 20,
		FetchMaxWait:     millis(500),
		GroupProtocol:    "classic",
		SessionTimeout:   seconds(45),
		Heartbeat:        seconds(3),
		Assignor:         "cooperative-sticky",
		RetryBackoff:     millis(100),
		RetryBackoffMax:  seconds(1),
	}
}

func defaultPlugins() Plugins {
	return Plugins{
		Watch:       boolean(true),
		Memory:      16 << 20,
		Timeout:     millis(50),
		MemoryTotal: 4 << 30,
		Output:      4 << 20,
		LogRate:     100,
		Breaker:     Breaker{Failures: 20, Window: seconds(10), Cooldown: seconds(30)},
	}
}

// defaultPlugin is the [plugin.NAME] that sets nothing; it inherits from p.
func defaultPlugin(p Plugins) Plugin {
	return Plugin{
		OnError:   Fail,
		Memory:    p.Memory,
		Timeout:   p.Timeout,
		Output:    p.Output,
		Grants:    []string{"log", "metrics", "clock", "random"},
		OnUnknown: "release",
	}
}

func defaultChain() Chain {
	return Chain{Partitioner: "default", PartitionerOnError: "default", Lanes: 1}
}

func defaultPipeline(name string) Pipeline {
	return Pipeline{
		GroupID: name, Guarantee: "at_least_once", CommitInterval: millis(100), TransactionTimeout: seconds(10),
		RetryBackoff: millis(100), RetryBackoffMax: seconds(1),
	}
}

// ApplyDefaults fills in what a configuration built in Go leaves out: every zero
// field gets its default, also where zero is a setting of its own (a
// configuration that names linger_ms alone must not end up with acks = 0). To
// choose such a zero, start from Default: its Version is set, and in a
// configuration with a Version, as in a loaded one, legal settings are never
// changed. Applying twice is applying once.
//
// It also settles what depends on other settings, as Kafka's client does:
// enable_idempotence, where it is not given, is on unless another setting
// forbids it, and a delivery_timeout_ms that is not given is raised to
// linger_ms + request_timeout_ms. Check warns of both.
func (c *Config) ApplyDefaults() {
	c.fillDefaults()
	if c.Host.ID == "" {
		c.Host.ID, _ = os.Hostname()
	}
	if dir, err := os.UserCacheDir(); c.Plugins.CacheDir == "" && err == nil {
		c.Plugins.CacheDir = filepath.Join(dir, "klamm")
	}
	c.Producer.settle(c.isSet)
}

func (c *Config) fillDefaults() {
	d := Default()
	if c.Version != 0 {
		d.Admin = c.Admin // all zero is legal there: no listener
	}
	// The caller's maps may be another configuration's too.
	c.Plugin, c.Chain = maps.Clone(c.Plugin), maps.Clone(c.Chain)
	c.Pipeline, c.State = maps.Clone(c.Pipeline), maps.Clone(c.State)
	whole := c.Version != 0
	fill(reflect.ValueOf(c).Elem(), reflect.ValueOf(d), whole)
	for name, p := range c.Plugin {
		c.Plugin[name] = filled(p, defaultPlugin(c.Plugins), whole)
	}
	for name, ch := range c.Chain {
		c.Chain[name] = filled(ch, defaultChain(), whole)
	}
	for name, p := range c.Pipeline {
		c.Pipeline[name] = filled(p, defaultPipeline(name), whole)
	}
	for name, s := range c.State {
		c.State[name] = filled(s, defaultState(), whole)
	}
}

// settle decides what Kafka's client decides when it is not told.
func (p *Producer) settle(isSet func(path ...string) bool) {
	if p.EnableIdempotence == nil {
		p.EnableIdempotence = boolean(len(p.idempotenceConflicts()) == 0)
	}
	if least := p.Linger + p.RequestTimeout; p.DeliveryTimeout < least && !p.deliveryTimeoutSet(isSet) {
		p.DeliveryTimeout = least
	}
}

// Idempotent reports whether the producer writes with sequence numbers.
func (p *Producer) Idempotent() bool {
	if p.EnableIdempotence != nil {
		return *p.EnableIdempotence
	}
	return len(p.idempotenceConflicts()) == 0
}

// deliveryTimeoutSet reports whether somebody chose the delivery timeout. One
// that was not loaded from a file counts as chosen when it is not the default.
func (p *Producer) deliveryTimeoutSet(isSet func(path ...string) bool) bool {
	return isSet("producer", "delivery_timeout_ms") || p.DeliveryTimeout != defaultProducer().DeliveryTimeout
}

// zeroIsLegal names the fields for which zero is a setting of its own, in a
// configuration that is whole.
var zeroIsLegal = map[string]bool{
	"Producer.Acks": true, "Producer.Retries": true, "Producer.Linger": true, "Producer.MaxBlock": true,
	"Producer.RetryBackoff": true, "Producer.RetryBackoffMax": true, "Producer.Compression": true, "Producer.BatchSize": true,
	"Cluster.ReconnectBackoff": true, "Cluster.ReconnectBackoffMax": true, "Cluster.ConnectionsMaxIdle": true,
	"Consumer.FetchMaxWait": true, "Plugins.LogRate": true, "Admin.Listen": true, "State.MaxBytes": true, "State.SyncInterval": true,
}

func filled[T any](have, defaults T, whole bool) T {
	fill(reflect.ValueOf(&have).Elem(), reflect.ValueOf(defaults), whole)
	return have
}

// fill gives the zero fields of have the values that defaults has. A zero
// struct within have is replaced as a whole.
func fill(have, defaults reflect.Value, whole bool) {
	for i := range have.NumField() {
		f, d := have.Field(i), defaults.Field(i)
		switch {
		case f.Kind() == reflect.Struct && !f.IsZero():
			fill(f, d, whole)
		case f.IsZero() && !(whole && zeroIsLegal[have.Type().Name()+"."+have.Type().Field(i).Name]):
			f.Set(d)
		}
	}
}

func seconds(n int) Duration { return Duration(n) * Duration(time.Second) }
func millis(n int) Duration  { return Duration(n) * Duration(time.Millisecond) }
func boolean(b bool) *bool   { return &b }
