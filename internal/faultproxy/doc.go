// Package faultproxy is a TCP proxy between Kafka clients and brokers that makes
// faults. It knows where frames begin and which request a reply belongs to, so
// it can do what a byte proxy cannot: lose the reply of every fifth Produce
// request, cut a frame in its middle, answer late, or answer nonsense.
//
// It stands before each broker of a cluster on an address of its own, and
// rewrites the brokers' addresses in replies, so that clients stay on it.
//
// Faults follow rules. Which of the frames that a rule matches are struck is
// decided by a seed: the n-th match at a broker always meets the same fate.
// Which frame comes n-th is up to the client's and the brokers' scheduling.
//
// All methods are safe for concurrent use.
package faultproxy
