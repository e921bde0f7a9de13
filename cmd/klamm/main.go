// Command klamm runs Kafka records through WebAssembly interceptors and
// partitioners, and offers what one needs around that: a demo, an embedded
// broker, produce and consume, checks and explanations.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel(errInterrupted) // the first one drains
		<-signals
		os.Exit(exitInterrupted) // the second one stops
	}()
	os.Exit(run(ctx, os.Args[1:], standardStreams()))
}
