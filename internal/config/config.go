// Package config reads Klamm's TOML configuration: it finds every mistake of a
// file at once and tells each one's line, column, cause and mend.
package config

import "time"

// Config is a whole configuration. Its zero value is not usable; Default and
// Load fill in the defaults. config.toml at the top of the project documents
// every key.
type Config struct {
	Version int `toml:"version"`

	Host     Host                `toml:"host"`
	Cluster  Cluster             `toml:"cluster"`
	Producer Producer            `toml:"producer"`
	Consumer Consumer            `toml:"consumer"`
	Plugins  Plugins             `toml:"plugins"`
	Plugin   map[string]Plugin   `toml:"plugin"`
	Chain    map[string]Chain    `toml:"chain"`
	Pipeline map[string]Pipeline `toml:"pipeline"`
	State    map[string]State    `toml:"state"`
	Admin    Admin               `toml:"admin"`
	Log      Log                 `toml:"log"`

	// Natives are the names of interceptors and partitioners written in Go that
	// the program adds; chains may list them beside plugins.
	Natives []string `toml:"-"`

	// Source knows where each key stands, for errors that are found later.
	// It is nil for a configuration built in Go.
	Source *Source `toml:"-" json:"-"`
}

// Host is the process itself.
type Host struct {
	// ID gives a stable group.instance.id and transactional.id. Default: the
	// machine's host name.
	ID string `toml:"id"`
	// DrainTimeout bounds Close on SIGTERM. Default 30s.
	DrainTimeout Duration `toml:"drain_timeout"`
}

// Cluster is the brokers and how to reach them.
type Cluster struct {
	// BootstrapServers are host:port, or the one word "embedded".
	BootstrapServers []string `toml:"bootstrap_servers"`
	ClientID         string   `toml:"client_id"` // default "klamm"
	// AllowAutoCreateTopics lets metadata requests create a topic. Default false.
	AllowAutoCreateTopics bool     `toml:"allow_auto_create_topics"`
	DialTimeout           Duration `toml:"dial_timeout"`        // default 10s
	MetadataMaxAge        Duration `toml:"metadata_max_age_ms"` // default 5m
	// MetadataMaxIdle is when a topic that nobody has used is forgotten.
	// Default 5m.
	MetadataMaxIdle  Duration         `toml:"metadata_max_idle_ms"`
	MetadataRecovery MetadataRecovery `toml:"metadata_recovery_strategy"` // default rebootstrap
	// ReconnectBackoff doubles with each failed connection to a broker, up to
	// ReconnectBackoffMax. Defaults 50ms and 1s.
	ReconnectBackoff    Duration `toml:"reconnect_backoff_ms"`
	ReconnectBackoffMax Duration `toml:"reconnect_backoff_max_ms"`
	// ConnectionsMaxIdle closes a producer's connection that carried nothing for
	// so long. Default 9m, below the brokers' 10; 0 leaves it to them.
	ConnectionsMaxIdle Duration `toml:"connections_max_idle_ms"`
	// SendBuffer and ReceiveBuffer are the sockets' SO_SNDBUF and SO_RCVBUF.
	// Default 0: the operating system's, which adapts them.
	SendBuffer    Size     `toml:"send_buffer_bytes"`
	ReceiveBuffer Size     `toml:"receive_buffer_bytes"`
	Embedded      Embedded `toml:"embedded"`
	TLS           TLS      `toml:"tls"`
	SASL          SASL     `toml:"sasl"`
}

// Embedded is the broker inside the process.
type Embedded struct {
	Listen     string   `toml:"listen"`     // default "127.0.0.1:0"; port 0 is a free one
	Partitions int      `toml:"partitions"` // of topics it creates; default 4
	DataDir    string   `toml:"data_dir"`   // "" keeps everything in memory
	Topics     []string `toml:"topics"`     // created at start
}

// TLS to the brokers.
type TLS struct {
	Enabled            bool   `toml:"enabled"`
	CAFile             string `toml:"ca_file"` // "" is the system's pool
	CertFile           string `toml:"cert_file"`
	KeyFile            string `toml:"key_file"`
	ServerName         string `toml:"server_name"`
	InsecureSkipVerify bool   `toml:"insecure_skip_verify"`
}

// SASL to the brokers.
type SASL struct {
	Mechanism string `toml:"mechanism"` // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	Username  string `toml:"username"`
	Password  Secret `toml:"password"`
}

// Producer mirrors Kafka's producer settings; see KafkaProducer's documentation
// for each. Times are Kafka's, with units.
type Producer struct {
	Acks                  Acks        `toml:"acks"`               // default all
	EnableIdempotence     *bool       `toml:"enable_idempotence"` // default true
	MaxInFlight           int         `toml:"max_in_flight_requests_per_connection"`
	Retries               int         `toml:"retries"`              // default MaxInt32
	Linger                Duration    `toml:"linger_ms"`            // default 5ms
	BatchSize             Size        `toml:"batch_size"`           // default 16KiB; 0: each record has a batch of its own
	BufferMemory          Size        `toml:"buffer_memory"`        // default 32MiB
	MaxBlock              Duration    `toml:"max_block_ms"`         // default 60s
	DeliveryTimeout       Duration    `toml:"delivery_timeout_ms"`  // default 120s
	RequestTimeout        Duration    `toml:"request_timeout_ms"`   // default 30s
	RetryBackoff          Duration    `toml:"retry_backoff_ms"`     // default 100ms
	RetryBackoffMax       Duration    `toml:"retry_backoff_max_ms"` // default 1s
	MaxRequestSize        Size        `toml:"max_request_size"`     // default 1MiB
	Compression           Compression `toml:"compression_type"`     // default none
	CompressionLevel      int         `toml:"compression_level"`    // 0: the codec's default
	Partitioner           string      `toml:"partitioner"`          // for topics without a chain; default "default"
	PartitionerIgnoreKeys bool        `toml:"partitioner_ignore_keys"`
	PartitionerAdaptive   *bool       `toml:"partitioner_adaptive_partitioning_enable"` // default true
	// PartitionerAvailability is how long a broker may take nothing of what is
	// due until records without a key avoid its partitions. Default 0: they never
	// do.
	PartitionerAvailability Duration `toml:"partitioner_availability_timeout_ms"`
	// Transport is klamm, or sarama to have sarama encode what is sent, which is
	// slow and speaks no newer protocol than sarama does. Default klamm.
	Transport Transport `toml:"transport"`
	// TransactionalID makes the producer a transactional one. Default "": none.
	TransactionalID    string   `toml:"transactional_id"`
	TransactionTimeout Duration `toml:"transaction_timeout_ms"` // default 60s
	// Slots is how many records may wait for their acknowledgement to be run
	// through the plugins. Default 131072.
	Slots int `toml:"acknowledgement_slots"`
}

// Consumer mirrors Kafka's consumer settings.
type Consumer struct {
	GroupID          string         `toml:"group_id"`
	GroupInstanceID  string         `toml:"group_instance_id"`
	AutoOffsetReset  OffsetReset    `toml:"auto_offset_reset"`         // default earliest
	IsolationLevel   IsolationLevel `toml:"isolation_level"`           // default read_committed
	EnableAutoCommit *bool          `toml:"enable_auto_commit"`        // default true
	AutoCommit       Duration       `toml:"auto_commit_interval_ms"`   // default 5s
	MaxPollRecords   int            `toml:"max_poll_records"`          // default 500
	FetchMinBytes    Size           `toml:"fetch_min_bytes"`           // default 1
	FetchMaxBytes    Size           `toml:"max_partition_fetch_bytes"` // default 1MiB
	FetchMaxWait     Duration       `toml:"fetch_max_wait_ms"`         // default 500ms
	// GroupProtocol is how members join: classic (default), or consumer, where the
	// broker assigns (KIP-848). With consumer, SessionTimeout, Heartbeat and
	// Assignor are the broker's and not used.
	GroupProtocol GroupProtocol `toml:"group_protocol"`
	// RemoteAssignor names the broker's assignor with GroupProtocol consumer:
	// "uniform", "range" or one that the brokers have besides. "" is their default.
	RemoteAssignor string   `toml:"group_remote_assignor"`
	SessionTimeout Duration `toml:"session_timeout_ms"`            // default 45s
	Heartbeat      Duration `toml:"heartbeat_interval_ms"`         // default 3s
	Assignor       Assignor `toml:"partition_assignment_strategy"` // default cooperative-sticky
	// Retries are those of records that the handler or a plugin failed, as in a
	// Pipeline. Default 0.
	Retries         int      `toml:"retries"`
	RetryBackoff    Duration `toml:"retry_backoff_ms"`     // default 100ms
	RetryBackoffMax Duration `toml:"retry_backoff_max_ms"` // default 1s
	// DeadLetterTopic is where such records go then. Default: none, and the error
	// ends the consumer.
	DeadLetterTopic string `toml:"dead_letter_topic"`
}

// Plugins holds what all plugins share; each may set its own.
type Plugins struct {
	CacheDir string `toml:"cache_dir"` // compiled code; default klamm under the user's cache directory
	// Watch reloads a module file when it changes. Default true.
	Watch  *bool `toml:"watch"`
	Memory Size  `toml:"memory"` // default 16MiB, at most 64MiB
	// MemoryTotal bounds the memory of all instances, each at its largest size,
	// and what they are restored from after a fault. Default 4GiB.
	MemoryTotal Size     `toml:"memory_total"`
	Timeout     Duration `toml:"timeout"`              // one call; default 50ms
	Output      Size     `toml:"output"`               // what one call may return; default 4MiB
	LogRate     int      `toml:"log_lines_per_second"` // default 100, for each plugin
	Breaker     Breaker  `toml:"breaker"`
	// TrustedKeys are ed25519 public keys, base64, that may sign modules.
	TrustedKeys []string `toml:"trusted_keys"`
	// RequireSignature refuses modules that none of them has signed; those that
	// come with Klamm need none. Default false.
	RequireSignature bool `toml:"require_signature"`
}

// Breaker stops calling a plugin that keeps failing.
type Breaker struct {
	Failures int      `toml:"failures"` // default 20
	Window   Duration `toml:"window"`   // default 10s
	Cooldown Duration `toml:"cooldown"` // default 30s
}

// Plugin is one [plugin.NAME].
type Plugin struct {
	// Module is a file, a folder of Go source, or builtin:NAME. Relative paths
	// start at the configuration file's folder.
	Module          string            `toml:"module"`
	SHA256          string            `toml:"sha256"`
	OnError         OnError           `toml:"on_error"`          // default fail
	DeadLetterTopic string            `toml:"dead_letter_topic"` // needed by on_error = dead_letter and by the verdict
	State           string            `toml:"state"`             // a [state.NAME]; "" grants none
	Topics          []string          `toml:"topics"`            // topics that the plugin may change a record to
	Memory          Size              `toml:"memory"`
	Timeout         Duration          `toml:"timeout"`
	Output          Size              `toml:"output"`
	Grants          []string          `toml:"grants"`     // log, metrics, clock, random by default
	Secrets         map[string]Secret `toml:"secrets"`    // for keyed hashing; never in the guest's memory
	Config          map[string]any    `toml:"config"`     // the plugin's own table
	OnUnknown       OnUnknown         `toml:"on_unknown"` // claims of records of unknown outcome; default release
}

// Chain is one [chain.NAME]: which plugins judge the records of which topics.
type Chain struct {
	Topics            []string `toml:"topics"` // exact names or globs
	OnSend            []string `toml:"on_send"`
	OnAcknowledgement []string `toml:"on_acknowledgement"` // nil: the same list as OnSend
	OnConsume         []string `toml:"on_consume"`
	OnCommit          []string `toml:"on_commit"`
	// Partitioner is "default", "round_robin", "manual", "crc32" (librdkafka's
	// consistent), "fnv1a" (sarama's), or a plugin's name.
	Partitioner        string             `toml:"partitioner"`
	PartitionerOnError PartitionerOnError `toml:"partitioner_on_error"` // default "default"
	Lanes              int                `toml:"lanes"`                // default 1
	AllowReorder       bool               `toml:"allow_reorder"`
	DeadLetterTopic    string             `toml:"dead_letter_topic"` // for plugins that name none
}

// Pipeline is one [pipeline.NAME]: topics in, a chain, a topic out.
type Pipeline struct {
	From            []string  `toml:"from"`
	To              string    `toml:"to"`
	GroupID         string    `toml:"group_id"` // default: the pipeline's name
	Chain           string    `toml:"chain"`    // default: the chain of the output topic
	Guarantee       Guarantee `toml:"guarantee"`
	DeadLetterTopic string    `toml:"dead_letter_topic"`
	CommitInterval  Duration  `toml:"commit_interval_ms"` // default 100ms
	StopAtEnd       bool      `toml:"stop_at_end"`
	// Rekey copies the input into a topic partitioned by the id of dedup, and reads
	// that.
	Rekey bool `toml:"rekey"`
	// TransactionTimeout is the age at which the brokers abort a transaction of an
	// exactly-once pipeline. Default 10s.
	TransactionTimeout Duration `toml:"transaction_timeout_ms"`
	// Retries is how often a record that a plugin failed is tried again before it is
	// put aside or ends the pipeline. What comes after it in its partition waits.
	// Default 0.
	Retries int `toml:"retries"`
	// RetryBackoff is the pause before the first retry; it doubles up to
	// RetryBackoffMax. Defaults 100ms, 1s.
	RetryBackoff    Duration `toml:"retry_backoff_ms"`
	RetryBackoffMax Duration `toml:"retry_backoff_max_ms"`
}

// Admin is the HTTP listener of klamm run.
type Admin struct {
	Listen string `toml:"listen"` // default "127.0.0.1:8686"; unix:PATH is a socket; "" turns it off
	Token  Secret `toml:"token"`
}

// Log is the host's own log, on stderr.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn, error; default info
	Format string `toml:"format"` // auto, text, json; default auto
}

// Duration is a time.Duration in TOML: "5ms", or a plain number in
// milliseconds, Kafka's unit.
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Size is bytes in TOML: "16KiB", or a plain number.
type Size int64

// Secret is a string that is redacted wherever it is printed.
type Secret string

// Acks is 0, 1 or all (-1).
type Acks int16

// Compression is none, gzip, snappy, lz4 or zstd, with Kafka's codec numbers.
type Compression int8

// MetadataRecovery is rebootstrap or none.
type MetadataRecovery string

// Transport is klamm or sarama.
type Transport string

// TransportSarama has sarama encode, send and decode Produce requests.
const TransportSarama Transport = "sarama"

// OffsetReset is earliest, latest or none.
type OffsetReset string

// IsolationLevel is read_committed or read_uncommitted.
type IsolationLevel string

// GroupProtocol is classic or consumer.
type GroupProtocol string

// ConsumerProtocol is the GroupProtocol of KIP-848.
const ConsumerProtocol GroupProtocol = "consumer"

// Assignor is range, sticky or cooperative-sticky.
type Assignor string

// OnError is what becomes of a record that a plugin's fault touched.
type OnError string

// The failure policies.
const (
	Fail       OnError = "fail"
	Pass       OnError = "pass"
	Drop       OnError = "drop"
	DeadLetter OnError = "dead_letter"
)

// PartitionerOnError is default or fail.
type PartitionerOnError string

// OnUnknown is release or hold.
type OnUnknown string

// Guarantee is at_least_once or exactly_once.
type Guarantee string

// ExactlyOnce has a pipeline write, and commit what it has read, in transactions.
const ExactlyOnce Guarantee = "exactly_once"
