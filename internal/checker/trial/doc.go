// Package trial has a host send records into brokers while faults are made, and
// has the checker judge what came of it. `klamm bench` and the fault tests use
// it.
package trial
