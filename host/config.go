package host

import "github.com/klamm-io/klamm/internal/config"

// The configuration in Go is the configuration in TOML: each struct mirrors
// one table of config.toml, and zero values stand for the documented defaults.
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

	Duration = config.Duration
	Size     = config.Size
	Secret   = config.Secret
)
