package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/admin"
)

// adminAt is how the commands that talk to a running host find it.
type adminAt struct{ listen, token string }

func (t *adminAt) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.listen, "admin", "", "`address` of the running host, as its admin.listen (default: that of the configuration)")
	cmd.Flags().StringVar(&t.token, "token-file", "", "`file` with the token of its [admin] (default: that of the configuration)")
}

func (a *app) adminClient(t adminAt) (*admin.Client, string, error) {
	s, err := a.loadOffline()
	if err != nil {
		return nil, "", err
	}
	listen, token := s.Admin.Listen, s.Admin.Token.Reveal()
	if t.listen != "" {
		listen = t.listen
	}
	if t.token != "" {
		text, err := os.ReadFile(t.token)
		if err != nil {
			return nil, "", fmt.Errorf("--token-file: %w", err)
		}
		token = string(trimNewline(text))
	}
	if listen == "" {
		return nil, "", usagef("admin.listen is empty: name the running host with --admin")
	}
	return admin.NewClient(listen, token), listen, nil
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// adminError says what a failed call means to who typed the command.
func adminError(listen string, err error) error {
	var refused *admin.Refusal
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refused):
		return todo(fmt.Errorf("no running host answers at %s: %w", listen, err), "start one with klamm run, or name it with --admin")
	case refused.Status == http.StatusUnprocessableEntity:
		return &failure{err: err, code: exitPlugin, do: "the running generation stays; mend the module and deploy it again"}
	}
	return err
}

func (a *app) pluginDeployCommand() *cobra.Command {
	var at adminAt
	var signature string
	cmd := &cobra.Command{
		Use: "deploy NAME FILE", Short: "give a plugin of a running host a new module",
		Long: `Sends the module's bytes to a running host, which guards, compiles, initialises and
tests it aside and then swaps it in between two batches. When it refuses the module,
the running generation stays, and the exit code is 5.`,
		Example: `  klamm plugin deploy dedup ./dedup.wasm
  klamm plugin deploy dedup ./dedup.wasm --signature dedup.wasm.sig --admin unix:/run/klamm.sock`,
		Args: exactly("NAME", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wasm, err := os.ReadFile(args[1])
			if err != nil {
				return fmt.Errorf("module: %w", err)
			}
			var sig []byte
			if signature != "" {
				if sig, err = host.ReadSignature(signature); err != nil {
					return err
				}
			}
			client, listen, err := a.adminClient(at)
			if err != nil {
				return err
			}
			d, err := client.Deploy(cmd.Context(), args[0], wasm, sig)
			return a.printDeployment(d, adminError(listen, err))
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&signature, "signature", "", "`file` with the module's ed25519 signature")
	return cmd
}

func (a *app) pluginRollbackCommand() *cobra.Command {
	var at adminAt
	cmd := &cobra.Command{
		Use: "rollback NAME", Short: "bring back the generation before the running one",
		Example: `  klamm plugin rollback dedup
  klamm plugin rollback dedup -c prod.toml`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, listen, err := a.adminClient(at)
			if err != nil {
				return err
			}
			d, err := client.Rollback(cmd.Context(), args[0])
			return a.printDeployment(d, adminError(listen, err))
		},
	}
	at.flags(cmd)
	return cmd
}

func (a *app) printDeployment(d admin.DeployAnswer, err error) error {
	if err != nil {
		return err
	}
	if a.json() {
		return printJSON(a.out, d)
	}
	fmt.Fprintf(a.out, "%s: generation %d active, sha256 %s\n", d.Plugin, d.Generation, d.Digest)
	return nil
}

func (a *app) pluginStatusCommand() *cobra.Command {
	var at adminAt
	cmd := &cobra.Command{
		Use: "status", Short: "the plugins of a running host and their generations",
		Example: `  klamm plugin status
  klamm plugin status -c prod.toml --output json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.pluginStatus(cmd.Context(), at)
		},
	}
	at.flags(cmd)
	return cmd
}

func (a *app) pluginStatus(ctx context.Context, at adminAt) error {
	client, listen, err := a.adminClient(at)
	if err != nil {
		return err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return adminError(listen, err)
	}
	if a.json() {
		return printJSON(a.out, status)
	}
	rows := [][]string{{"PLUGIN", "GENERATION", "VERSION", "SHA256", "LOADED", "MODULE", "LAST REFUSAL"}}
	for _, p := range status.Plugins {
		rows = append(rows, []string{
			p.Name, fmt.Sprint(p.Generation), p.Version, short(p.Digest), p.Loaded.Format(time.DateTime), p.Module, p.LastError,
		})
	}
	return a.printTable(rows)
}

func (a *app) pluginHistoryCommand() *cobra.Command {
	var at adminAt
	cmd := &cobra.Command{
		Use: "history NAME", Short: "what a plugin of a running host was given since it started",
		Example: `  klamm plugin history dedup
  klamm plugin history dedup --output json`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pluginHistory(cmd.Context(), at, args[0])
		},
	}
	at.flags(cmd)
	return cmd
}

func (a *app) pluginHistory(ctx context.Context, at adminAt, name string) error {
	client, listen, err := a.adminClient(at)
	if err != nil {
		return err
	}
	history, err := client.History(ctx, name)
	if err != nil {
		return adminError(listen, err)
	}
	if a.json() {
		return printJSON(a.out, history)
	}
	rows := [][]string{{"AT", "FROM", "GENERATION", "SHA256", "BYTES", "STATE"}}
	for _, d := range history.Deployments {
		state := "was active"
		switch {
		case d.Refused != "":
			state = "refused: " + d.Refused
		case d.Active:
			state = "active"
		}
		rows = append(rows, []string{d.At.Format(time.DateTime), d.From, fmt.Sprint(d.Generation), short(d.Digest), fmt.Sprint(d.Size), state})
	}
	return a.printTable(rows)
}

// short is enough of a digest to tell two modules apart.
func short(digest string) string { return digest[:min(12, len(digest))] }
