// Package killtest kills hosts that run an exactly-once pipeline, and judges what
// came of it. Brokers and hosts are processes of their own: embedded brokers in
// one, and two hosts, which are ended with SIGKILL at any microsecond, stopped past
// their session and continued, alone or with the brokers, replaced by others of the
// same id, and asked to end.
// A reader that is not ours, and the offsets of the group, tell what is lost,
// doubled or torn.
//
//	go test ./host/killtest -run TestKill -v -rounds 20
//
// prints the figures and the seed, with which the same decisions are made again.
// What the processes make of them depends on the machine.
package killtest
