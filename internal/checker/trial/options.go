package trial

import (
	"log/slog"
	"time"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/faultproxy"
)

// Options of Start. Zero values stand for the defaults.
type Options struct {
	// Topic has the records. Default "trial". On the embedded brokers it is
	// made, with Partitions partitions (default 12).
	Topic      string
	Partitions int
	// Embedded is how many embedded brokers there are. Default 3.
	Embedded int
	// Addresses are other brokers to use in their place, as they advertise
	// themselves. The topic is made there, with so many copies (default 1) and
	// these settings.
	Addresses    []string
	Copies       int
	TopicConfigs map[string]string
	// Repartitioned says that the topic gets more partitions: keys may move.
	Repartitioned bool
	// BrokerConfigs are those of the embedded brokers.
	BrokerConfigs map[string]string

	// Producers is how many goroutines send. Default 4, each with Keys keys
	// (default 64).
	Producers, Keys int
	// Size is the bytes of a value. Default 100.
	Size int
	// InFlight bounds the records without a completion. Default 2000, so that a
	// load lasts long enough to meet faults; negative: no bound.
	InFlight int
	// Asked is the share of records that ask for a partition. Of one key either
	// all do or none.
	Asked float64
	// Dedup runs the dedup plugin, and Repeats is the share of records that
	// repeat the id of one before. Default 0.2. Window is how long the plugin
	// remembers, by the records' own times; 0: for ever. Where there is one, some
	// records repeat ids from far back.
	Dedup   bool
	Repeats float64
	Window  time.Duration
	// Deduper judges in the plugin's place: one with a bug, that must be found.
	Deduper any
	// Refusals has the brokers of Chaos also answer with errors that fail records
	// for certain, so that ids are released and their repeats must pass.
	Refusals bool
	// Lanes of the chain. Default 1.
	Lanes int

	// Transactional makes the producer so, for Trial.Transaction. Its transactional id
	// is the topic. Keep keeps a producer that is lost, in whose place there is a new
	// one otherwise.
	Transactional bool
	Keep          bool

	// Now is the clock of the records and the history. Default: the wall's.
	Now func() time.Time

	// Seed decides about records and faults. 0: one of the time.
	Seed uint64
	// History is the file to write. Default: a temporary one that is removed.
	History string
	// Durable has each record on disk before it is sent.
	Durable bool
	// Proxy puts a fault proxy between the host and the brokers.
	Proxy bool
	// Rules are at work before the host connects.
	Rules []faultproxy.Rule
	// Observe sees every request at the proxy.
	Observe func(broker int, key int16, frame []byte)

	// Config changes the host's configuration.
	Config func(*host.Config)
	// Logger gets the host's log. Default: nobody.
	Logger *slog.Logger
}

func (o *Options) applyDefaults() {
	orInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	orInt(&o.Partitions, 12)
	orInt(&o.Embedded, 3)
	orInt(&o.Copies, 1)
	orInt(&o.Producers, 4)
	orInt(&o.Keys, 64)
	orInt(&o.Size, 100)
	orInt(&o.Lanes, 1)
	orInt(&o.InFlight, 2000)
	if o.Topic == "" {
		o.Topic = "trial"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Repeats == 0 {
		o.Repeats = 0.2
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
}
