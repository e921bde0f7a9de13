package config

import (
	"fmt"
	"math"
	"strings"
)

func (k *checker) producer() {
	p := &k.Producer
	at := func(key string) []string { return path("producer", key) }
	k.oneOf(at("acks"), p.Acks.String(), acksWords...)
	k.oneOf(at("compression_type"), p.Compression.String(), compressionNames...)
	between(k, at("max_in_flight_requests_per_connection"), p.MaxInFlight, 1, math.MaxInt32)
	between(k, at("retries"), p.Retries, 0, math.MaxInt32)
	between(k, at("linger_ms"), p.Linger, 0, seconds(3600))
	between(k, at("batch_size"), p.BatchSize, 0, 1<<30)
	between(k, at("buffer_memory"), p.BufferMemory, 1, 1<<40)
	between(k, at("max_block_ms"), p.MaxBlock, 0, seconds(24*3600))
	between(k, at("delivery_timeout_ms"), p.DeliveryTimeout, millis(1), seconds(24*3600))
	between(k, at("request_timeout_ms"), p.RequestTimeout, millis(1), seconds(3600))
	between(k, at("retry_backoff_ms"), p.RetryBackoff, 0, seconds(3600))
	between(k, at("retry_backoff_max_ms"), p.RetryBackoffMax, 0, seconds(3600))
	between(k, at("max_request_size"), p.MaxRequestSize, 1<<10, 1<<30)
	between(k, at("acknowledgement_slots"), p.Slots, 1, 1<<24)
	k.oneOf(at("transport"), string(p.Transport), transports...)
	between(k, at("transaction_timeout_ms"), p.TransactionTimeout, millis(1), seconds(24*3600))
	k.transactions(p)
	k.compressionLevel(p)
	between(k, at("partitioner_availability_timeout_ms"), p.PartitionerAvailability, 0, seconds(3600))
	k.partitioner(at("partitioner"), p.Partitioner)
	k.stickiness(p)
	k.idempotence(p)
	k.deliveryTimeout(p)
	k.buffers(p)
}

func (k *checker) compressionLevel(p *Producer) {
	at, codec := path("producer", "compression_level"), p.Compression.String()
	most := map[Compression]int{CompressionGzip: 9, CompressionLZ4: 17, CompressionZstd: 22}[p.Compression]
	switch {
	case p.CompressionLevel == 0:
	case most == 0:
		k.fail(at, fmt.Sprintf("compression_level is given, but compression_type = %q has no levels", codec), "only gzip, lz4 and zstd have")
	default:
		between(k, at, p.CompressionLevel, 1, most)
	}
}

// idempotenceConflicts lists the settings with which Kafka cannot keep
// duplicates out: it needs all replicas, retries, and no more requests in flight
// than the brokers remember sequence numbers of.
func (p *Producer) idempotenceConflicts() (keys []string) {
	if p.Acks != AcksAll {
		keys = append(keys, "acks")
	}
	if p.Retries == 0 {
		keys = append(keys, "retries")
	}
	if p.MaxInFlight > 5 {
		keys = append(keys, "max_in_flight_requests_per_connection")
	}
	return keys
}

// idempotence follows Kafka's client: a conflict is an error where
// enable_idempotence = true was asked for, and turns it off where it was not.
// Kafka's client says nothing of the latter; this warns.
func (k *checker) idempotence(p *Producer) {
	values := map[string]string{
		"acks": `acks = "` + p.Acks.String() + `"`, "retries": "retries = 0",
		"max_in_flight_requests_per_connection": fmt.Sprintf("max_in_flight_requests_per_connection = %d", p.MaxInFlight),
	}
	needs := map[string]string{
		"acks": `it needs acks = "all"`, "retries": "it needs retries of 1 or more",
		"max_in_flight_requests_per_connection": "it needs max_in_flight_requests_per_connection of 5 or less",
	}
	if p.EnableIdempotence != nil && !*p.EnableIdempotence {
		return
	}
	asked := p.EnableIdempotence != nil && (k.Source == nil || k.isSet("producer", "enable_idempotence"))
	for _, key := range p.idempotenceConflicts() {
		if asked {
			k.fail(path("producer", key), fmt.Sprintf("%s contradicts enable_idempotence = true", values[key]),
				needs[key]+k.lineOf("producer", "enable_idempotence"))
			continue
		}
		k.warn(path("producer", key), values[key]+" turns idempotence off: retries may double or reorder records",
			needs[key]+"; write enable_idempotence = false to say that you know")
	}
}

// transactions demands what Kafka's client does: sequence numbers, and a name.
func (k *checker) transactions(p *Producer) {
	if p.TransactionalID == "" {
		return
	}
	conflicts := p.idempotenceConflicts()
	for _, key := range conflicts {
		k.fail(path("producer", key), fmt.Sprintf("%s contradicts transactional_id", key), "transactions need acks = \"all\", retries, and at most 5 requests in flight")
	}
	if p.EnableIdempotence != nil && !*p.EnableIdempotence && len(conflicts) == 0 {
		k.fail(path("producer", "transactional_id"), fmt.Sprintf("transactional_id %q contradicts enable_idempotence = false", p.TransactionalID),
			"transactions need idempotence"+k.lineOf("producer", "enable_idempotence"))
	}
	for _, name := range sortedKeys(k.Pipeline) {
		if k.Pipeline[name].Guarantee != ExactlyOnce {
			k.fail(path("producer", "transactional_id"), fmt.Sprintf("pipeline %q writes through the producer, which is transactional", name),
				fmt.Sprintf("give %s guarantee = \"exactly_once\", or remove transactional_id", tableName(path("pipeline", name))))
		}
	}
}

// lineOf is " (enable_idempotence is on line 4)", or "".
func (k *checker) lineOf(table, key string) string {
	if at := k.Source.KeyAt(table, key); at.Line > 0 && k.isSet(table, key) {
		return fmt.Sprintf(" (%s is on line %d)", key, at.Line)
	}
	return ""
}

// deliveryTimeout demands room for one try, as Kafka's client does.
func (k *checker) deliveryTimeout(p *Producer) {
	least := p.Linger + p.RequestTimeout
	if p.DeliveryTimeout >= least {
		return
	}
	sum := fmt.Sprintf("linger_ms %v + request_timeout_ms %v", p.Linger, p.RequestTimeout)
	if !p.deliveryTimeoutSet(k.isSet) {
		at := path("producer", k.given("producer", "request_timeout_ms", "linger_ms"))
		k.warn(at, fmt.Sprintf("delivery_timeout_ms is raised from its default %v to %s", p.DeliveryTimeout, sum),
			fmt.Sprintf("set delivery_timeout_ms to %v or more", least))
		return
	}
	what := fmt.Sprintf("delivery_timeout_ms %v is less than %s", p.DeliveryTimeout, sum)
	if p.Linger > p.DeliveryTimeout {
		what = fmt.Sprintf("linger_ms %v is larger than delivery_timeout_ms %v", p.Linger, p.DeliveryTimeout)
	}
	k.fail(path("producer", k.given("producer", "delivery_timeout_ms", "linger_ms")), what, fmt.Sprintf("it must be %v or more", least))
}

func (k *checker) buffers(p *Producer) {
	if p.BufferMemory < p.BatchSize {
		k.fail(path("producer", k.given("producer", "buffer_memory", "batch_size")),
			fmt.Sprintf("buffer_memory %v is smaller than batch_size %v", p.BufferMemory, p.BatchSize), "not one batch would fit")
	}
	if p.BatchSize > p.MaxRequestSize {
		k.warn(path("producer", k.given("producer", "batch_size", "max_request_size")),
			fmt.Sprintf("batch_size %v is larger than max_request_size %v: no batch gets that large", p.BatchSize, p.MaxRequestSize), "")
	}
	k.backoff("producer", "retry_backoff", p.RetryBackoff, p.RetryBackoffMax)
}

// backoff warns where the first wait is longer than the longest.
func (k *checker) backoff(table, name string, first, most Duration) {
	if first > most {
		k.warn(path(table, k.given(table, name+"_ms", name+"_max_ms")),
			fmt.Sprintf("%s_ms %v is larger than %s_max_ms %v, which is used", name, first, name, most), "")
	}
}

// stickiness warns of settings of the default partitioner that change nothing,
// as Kafka's documentation does.
func (k *checker) stickiness(p *Producer) {
	if p.PartitionerAvailability > 0 && p.PartitionerAdaptive != nil && !*p.PartitionerAdaptive {
		k.warn(path("producer", "partitioner_availability_timeout_ms"),
			fmt.Sprintf("partitioner_availability_timeout_ms = %v has no effect with partitioner_adaptive_partitioning_enable = false", p.PartitionerAvailability), "")
	}
	if p.PartitionerIgnoreKeys && p.Partitioner != "default" {
		k.warn(path("producer", "partitioner_ignore_keys"),
			fmt.Sprintf("partitioner_ignore_keys = true has no effect with partitioner = %q", p.Partitioner), "it is a setting of the default partitioner")
	}
}

// Partitioners are the names of the built-in ones.
var partitioners = []string{"default", "round_robin", "manual", "crc32", "fnv1a"}

// partitioner demands a built-in one's name or a plugin's.
func (k *checker) partitioner(at []string, name string) {
	if contains(partitioners, name) {
		return
	}
	if contains(k.names(), name) {
		return
	}
	if k.problems.unknownIn[""] {
		return // perhaps a misspelt [plugin.NAME]
	}
	suggestion := "there are " + quoteList(partitioners) + " and the plugins' names"
	if n := nearest(strings.ReplaceAll(name, "-", "_"), append(sortedKeys(k.Plugin), partitioners...)); n != "" {
		suggestion = k.didYouMean("plugin", n)
	}
	k.fail(at, fmt.Sprintf("%s: no partitioner and no plugin is named %q", pathName(at), name), suggestion)
}

// didYouMean names a table of the file and its line.
func (k *checker) didYouMean(kind, name string) string {
	if at := k.Source.KeyAt(kind, name); k.isSet(kind, name) && at.Line > 0 {
		return fmt.Sprintf("did you mean %q (line %d)?", name, at.Line)
	}
	return fmt.Sprintf("did you mean %q?", name)
}
