package host

import "github.com/klamm-io/klamm/internal/config"

// The configuration in Go is the configuration in TOML: each struct mirrors one
// table of config.toml, in which every key is explained, and a field has the
// name of its key without unit: linger_ms is Linger. The fields are shown by
//
//	go doc github.com/klamm-io/klamm/internal/config.Producer
//
// and alike for Cluster, Consumer, Plugin, Chain, Pipeline and State. Zero values
// stand for the documented defaults, also where zero is a setting of its own:
// for acks = 0, or a linger of 0, start from DefaultConfig.
type (
	Config         = config.Config
	HostConfig     = config.Host
	ClusterConfig  = config.Cluster
	EmbeddedConfig = config.Embedded
	TLSConfig      = config.TLS
	SASLConfig     = config.SASL
	ProducerConfig = config.Producer
	ConsumerConfig = config.Consumer
	PluginsConfig  = config.Plugins
	PluginConfig   = config.Plugin
	BreakerConfig  = config.Breaker
	ChainConfig    = config.Chain
	PipelineConfig = config.Pipeline
	StateConfig    = config.State

	// Duration is a time.Duration.
	Duration = config.Duration
	// Size is in bytes.
	Size = config.Size
	// Secret is a string that is redacted wherever it is printed.
	Secret = config.Secret

	Acks        = config.Acks
	Compression = config.Compression

	// The words of these are those of TOML: OnError: "drop", Guarantee:
	// "exactly_once", AutoOffsetReset: "latest".
	OnError            = config.OnError
	PartitionerOnError = config.PartitionerOnError
	OnUnknown          = config.OnUnknown
	Guarantee          = config.Guarantee
	OffsetReset        = config.OffsetReset
	IsolationLevel     = config.IsolationLevel
	GroupProtocol      = config.GroupProtocol
	Assignor           = config.Assignor
	MetadataRecovery   = config.MetadataRecovery
	Transport          = config.Transport
)

// What Acks and Compression can be.
const (
	AcksAll    = config.AcksAll // of all replicas in sync; the default
	AcksLeader = config.AcksLeader
	// AcksNone is the zero value. In a configuration that DefaultConfig has not made
	// it stands for the default, AcksAll.
	AcksNone = config.AcksNone

	CompressionNone   = config.CompressionNone // the default
	CompressionGzip   = config.CompressionGzip
	CompressionSnappy = config.CompressionSnappy
	CompressionLZ4    = config.CompressionLZ4
	CompressionZstd   = config.CompressionZstd
)

// DefaultConfig returns a configuration in which every setting has its default,
// on the embedded broker. What is changed in it stays as it is, zeros included.
func DefaultConfig() Config { return config.Default() }
