// Package checker judges whether a producer kept its promises. While a program
// sends, it keeps a history: each record before it is sent, and each completion
// as it comes. Afterwards the topic is read back with a client of another make
// (franz-go), and both are compared: nothing that was acknowledged may be lost,
// nothing may be there twice or out of order, nothing that certainly failed may
// be there at all, and each record has exactly one completion.
//
// What is counted, and its names, follow Jepsen's analyses of Kafka: lost and
// unseen are kept apart, a record of unknown outcome may be there once or not
// at all, and one that is there in spite of its failure is a ghost (G1a).
//
// A checker that finds nothing proves nothing. So its tests plant bugs in
// histories and logs, and each must be found.
package checker
