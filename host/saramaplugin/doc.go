// Package saramaplugin puts Klamm's plugins into programs that use sarama, in
// two lines:
//
//	h, err := host.Open(ctx, "config.toml")
//	p, err = saramaplugin.WrapAsyncProducer(h, cfg, p)
//
// The channels, methods and errors stay sarama's; so do its retries, its
// partitions and its promises. The host's own brokers are asked for topics,
// and written to for dead letters of what is read; nothing else goes past
// sarama.
//
// # What becomes of a message
//
// A wrapped producer judges a message before sarama sees it, once, however often
// sarama retries it. (sarama's own interceptors run again on retries, and on
// messages of sarama's that nobody sent; they are not used here.) Then
//
//	a plugin             the message comes back on   and
//	passed or edited it  Successes()                 Topic, Partition, Offset say where it is
//	routed it            Successes()                 the same; needs Partitioner or Routed
//	dropped it           Successes()                 DroppedBy(msg) tells who and why; Offset is -1
//	dead-lettered it     Successes()                 DeadLetteredBy(msg) tells; Topic is the dead-letter topic
//	failed it            Errors()                    the error is a *klamm.PluginError
//
// With a SyncProducer, Successes() is a nil error and Errors() is the error. The
// message is the pointer that was sent. Its Key, Value, Headers and Metadata are
// never changed, so a message that failed can be sent again as it is.
//
// Ids that a plugin such as dedup claimed are kept when their message is
// written, and released when it failed for certain. Where sarama cannot tell
// whether it was written (connection lost, timeouts, retries used up), the
// plugin's on_unknown decides. A duplicate that meets its id in flight waits for
// that message's end and shares it: dropped if it was written, failed with the
// same error if not.
//
// A dedup plugin sees each message once, so it does not see what sarama itself
// writes twice: a producer without Producer.Idempotent sends a batch again when
// it lost the connection before the answer. Turn Idempotent on.
//
// # Where each hook runs
//
//	on_send             both producers, before sarama
//	on_acknowledgement  both producers, once for each message that on_send was offered
//	on_consume          WrapConsumerGroupHandler, WrapPartitionConsumer, in batches of what is there
//	on_commit           offsets in a wrapped producer's transaction, when CommitTxn succeeded
//	klamm_partition     Partitioner
//
// on_commit does not run for the commits of a consumer group or an
// OffsetManager: sarama tells nobody whether they succeeded. host.Consumer runs
// it for all.
//
// # Closing
//
// Close the wrapper instead of what it wraps, and before the host. As with
// sarama, read Successes() and Errors() while sending; Close reads what is left.
// Up to 16384 messages may be between Input() and the reading of their result.
//
// All functions and methods are safe for concurrent use, as far as sarama's are.
package saramaplugin
