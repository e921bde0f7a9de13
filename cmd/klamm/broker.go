package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/internal/broker"
	"github.com/klamm-io/klamm/internal/config"
)

func (a *app) brokerCommand() *cobra.Command {
	var cfg config.Embedded
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "the embedded broker alone, on a port, for kcat and friends",
		Long: `Runs the embedded broker until Ctrl-C. It speaks Kafka's protocol and is made for
trying things out and for tests; it is not Apache Kafka: one copy of everything,
in memory unless --data-dir is given. It prints its address on stdout.`,
		Example: `  klamm broker
  klamm broker --topic orders --topic clean --partitions 12
  klamm broker --listen 127.0.0.1:0 --data-dir ./broker-data`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runBroker(cmd.Context(), cfg) },
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", localBroker, "`address` to listen on; port 0 is a free one")
	f.StringVar(&cfg.DataDir, "data-dir", "", "`folder` that keeps the topics; none: memory only")
	f.IntVar(&cfg.Partitions, "partitions", 4, "`number` of partitions of new topics")
	f.StringArrayVar(&cfg.Topics, "topic", nil, "create this `topic` at the start; may be repeated")
	return cmd
}

func (a *app) runBroker(ctx context.Context, cfg config.Embedded) error {
	if err := badBrokerFlags(&cfg); err != nil {
		return err
	}
	// Metadata requests may create topics here: whoever starts a broker to try
	// things out wants that, and clients can still ask not to.
	b, err := broker.Start(ctx, &cfg, broker.Options{Logger: a.quietLogger(config.Log{}), AutoCreateTopics: true})
	if err != nil {
		return err
	}
	addrs := strings.Join(b.Addrs(), ",")
	if a.json() {
		err = printJSON(a.out, map[string]any{"schema": "klamm.broker/1", "addresses": b.Addrs()})
	} else {
		_, err = fmt.Fprintln(a.out, addrs)
	}
	if err == nil {
		a.say("embedded broker on %s, %s; it is not Apache Kafka. Ctrl-C stops it.", addrs, dataPlace(cfg.DataDir))
		<-ctx.Done()
	}
	if closing := b.Close(); err == nil {
		err = closing
	}
	return err
}

// badBrokerFlags holds the flags to the rules of the file.
func badBrokerFlags(cfg *config.Embedded) error {
	flags := map[string]string{"listen": "--listen", "partitions": "--partitions", "topics": "--topic"}
	var mistakes []string
	for _, p := range cfg.Check().All() {
		_, what, _ := strings.Cut(p.What, ": ") // behind the setting's name
		if p.Suggestion != "" {
			what += "; " + p.Suggestion
		}
		mistakes = append(mistakes, flags[p.Path[2]]+": "+what)
	}
	if len(mistakes) == 0 {
		return nil
	}
	return usagef("%s", strings.Join(mistakes, "\n  "))
}

func dataPlace(dir string) string {
	if dir == "" {
		return "in memory"
	}
	return fmt.Sprintf("data in %q", dir)
}
