// Package faulttest has the tests of the host under faults: the anomalies that
// other Kafka clients had, one test each, and the kinds of faults, one row each.
// Records go through a host, a fault proxy and embedded brokers, are read back
// with another client, and the checker judges.
//
// A test that fails names its seed:
//
//	go test ./host/faulttest -run 'TestA13' -seed 42
//
// Each is short. -long makes each fifty times as long.
package faulttest
