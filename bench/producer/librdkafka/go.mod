module github.com/klamm-io/klamm/bench/producer/librdkafka

go 1.26.0

require (
	github.com/confluentinc/confluent-kafka-go/v2 v2.11.1
	github.com/klamm-io/klamm/bench v0.0.0
)

replace (
	github.com/klamm-io/klamm => ../../../
	github.com/klamm-io/klamm/bench => ../../
)
