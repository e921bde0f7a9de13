// Package kafkatest runs Apache Kafka's own brokers for tests: 1 or 3 KRaft nodes
// on the loopback, which can be killed, stopped, continued and restarted.
//
// The jars come from Maven once (.ci/kafka, pom.xml) and lie in a cache outside
// of the tree; jars.sha256 says which they are. Brokers and their folders go when
// the test's process ends, however it ends. Tests that use the package have the
// build tag kafka; `make kafka` runs them.
//
// All methods of a Cluster are safe for concurrent use, but for two that start or
// end the same broker.
package kafkatest
