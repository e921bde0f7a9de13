// Command klamm runs Kafka records through WebAssembly interceptors and
// partitioners, and offers what one needs around that: a demo, an embedded
// broker, produce and consume, checks and explanations.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go obey(signals, cancel, os.Exit)
	os.Exit(run(ctx, os.Args[1:], standardStreams()))
}

// onePress is how long a signal may come again and be the same: timeout(1), make
// and others pass on what the terminal has sent to the whole group already.
const onePress = 500 * time.Millisecond

// obey drains at the first signal and stops at the second one.
func obey(signals <-chan os.Signal, cancel context.CancelCauseFunc, exit func(int)) {
	<-signals
	cancel(errInterrupted)
	first := time.Now()
	for range signals {
		if time.Since(first) > onePress {
			exit(exitInterrupted)
		}
	}
}
