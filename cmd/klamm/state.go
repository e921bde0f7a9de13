package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm/host"
	"github.com/klamm-io/klamm/internal/admin"
)

func (a *app) stateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "state", Short: "what a host remembers for plugins: stats, one id, forget one, export",
		Long: `Asks the running host at admin.listen. Where none answers, a state with backend = "file" is
read from its file, unless a host has it open.

Ids are kept as keyed hashes: one can be looked up by what the plugin claimed, and the
export has hashes and the positions of records, not ids.`,
		Example: `  klamm state stats
  klamm state get ids order-4711
  klamm state forget ids order-4711 --topic orders
  klamm state export ids > ids.jsonl`,
		Args: group, RunE: help,
	}
	cmd.AddCommand(a.stateStatsCommand(), a.stateIDCommand(getID), a.stateIDCommand(forgetID), a.stateExportCommand())
	return cmd
}

// stateSource is where the answers come from: a running host, or a file.
type stateSource interface {
	States(ctx context.Context, name string) (admin.StatesAnswer, error)
	FindID(ctx context.Context, state string, q host.StateQuery) (admin.StateIDsAnswer, error)
	ForgetID(ctx context.Context, state string, q host.StateQuery) (admin.StateIDsAnswer, error)
	ExportIDs(ctx context.Context, state string, w io.Writer) error
}

// ofState makes a call of the running host's, or where none answers of the file's.
func (a *app) ofState(at adminAt, name string, call func(s stateSource) error) error {
	s, err := a.load("")
	if err != nil {
		return err
	}
	var running error
	if s.Admin.Listen != "" || at.listen != "" {
		client, listen, err := a.adminClient(at)
		if err != nil {
			return err
		}
		err = call(client)
		running = adminError(listen, err)
		if dial := (*net.OpError)(nil); at.listen != "" || !errors.As(err, &dial) || dial.Op != "dial" {
			return running
		}
	}
	files, err := a.stateFiles(s, name)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		if running == nil {
			running = todo(errors.New("admin.listen is empty, and no state has a file"), "name a running host with --admin")
		}
		return running
	}
	return call(files)
}

// stateFiles opens the file of the state that is named, or of each.
func (a *app) stateFiles(s *settings, name string) (stateFiles, error) {
	s.absolute()
	files := stateFiles{}
	for _, state := range sortedKeys(s.State) {
		if s.State[state].Backend == "file" && (name == "" || name == state) {
			files[state] = func() (*host.States, error) {
				a.say("no host runs: reading %s", s.State[state].Path)
				return host.OpenStateFile(*s.Config, ".", state, host.WithLogger(a.quietLogger(s.Log)))
			}
		}
	}
	if _, ok := s.State[name]; name != "" && !ok {
		return nil, &failure{err: &host.UnknownStateError{Name: name, Have: sortedKeys(s.State)}, code: exitConfig}
	}
	return files, nil
}

// stateFiles opens the file that is asked for, by state. It implements
// stateSource.
type stateFiles map[string]func() (*host.States, error)

// with opens a state's file for one call.
func (f stateFiles) with(name string, call func(*host.States) error) error {
	s, err := f[name]()
	if err != nil {
		return err
	}
	return errors.Join(call(s), s.Close())
}

func (f stateFiles) States(ctx context.Context, _ string) (admin.StatesAnswer, error) {
	out := admin.StatesAnswer{Schema: "klamm.states/1", States: []host.StateInfo{}}
	for _, name := range sortedKeys(f) {
		err := f.with(name, func(s *host.States) error {
			infos, err := s.Info(ctx, name)
			out.States = append(out.States, infos...)
			return err
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (f stateFiles) ids(name string, call func(s *host.States) ([]host.StateID, error)) (admin.StateIDsAnswer, error) {
	out := admin.StateIDsAnswer{Schema: "klamm.state-ids/1", State: name}
	err := f.with(name, func(s *host.States) (err error) {
		out.IDs, err = call(s)
		return err
	})
	return out, err
}

func (f stateFiles) FindID(_ context.Context, name string, q host.StateQuery) (admin.StateIDsAnswer, error) {
	return f.ids(name, func(s *host.States) ([]host.StateID, error) { return s.FindID(name, q) })
}

func (f stateFiles) ForgetID(_ context.Context, name string, q host.StateQuery) (admin.StateIDsAnswer, error) {
	return f.ids(name, func(s *host.States) ([]host.StateID, error) { return s.ForgetID(name, q) })
}

func (f stateFiles) ExportIDs(ctx context.Context, name string, w io.Writer) error {
	return f.with(name, func(s *host.States) error {
		enc := json.NewEncoder(w)
		return s.EachID(name, func(id host.StateID) error { return errors.Join(ctx.Err(), enc.Encode(id)) })
	})
}

func (a *app) stateStatsCommand() *cobra.Command {
	var at adminAt
	cmd := &cobra.Command{
		Use: "stats [NAME]", Short: "ids remembered and pending, evictions, hit rate, size, oldest and newest",
		Args: exactly("[NAME]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			return a.ofState(at, name, func(s stateSource) error {
				answer, err := s.States(cmd.Context(), name)
				if err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.out, answer)
				}
				return a.printStates(answer.States)
			})
		},
	}
	at.flags(cmd)
	return cmd
}

func (a *app) printStates(states []host.StateInfo) error {
	rows := [][]string{{"STATE", "BACKEND", "SCOPE", "CLOCK", "IDS", "LIMIT", "PENDING", "MEMORY", "STORE", "WHERE"}}
	shares := [][]string{{"STATE", "PLUGIN", "CLAIMS", "HITS", "HIT RATE", "WAITING", "EXPIRED", "EVICTED", "ERRORS"}}
	scopes := [][]string{{"STATE", "PLUGIN", "TOPIC", "IDS", "OLDEST", "OLDEST AT", "NEWEST", "NEWEST AT"}}
	for _, s := range states {
		size, where := "-", "-"
		if s.File != nil {
			size, where = sizeOrDash(s.File.Size), s.File.Where
		}
		rows = append(rows, []string{s.Name, s.Backend, s.Scope, s.Clock, count(s.Entries), count(int64(s.MaxEntries)), count(s.Pending), sizeOrDash(s.MemoryBytes), size, where})
		for _, p := range s.Plugins {
			shares = append(shares, []string{
				s.Name, p.Plugin, count(p.Claims), count(p.Hits), fmt.Sprintf("%.1f%%", 100*p.HitRate), count(p.Waiters), count(p.Expired), count(p.Evictions), count(p.Errors),
			})
		}
		for _, c := range s.Scopes {
			scopes = append(scopes, []string{s.Name, c.Plugin, c.Topic, count(c.Entries), idTime(c.Oldest), standsAt(c.Oldest), idTime(c.Newest), standsAt(c.Newest)})
		}
	}
	for i, table := range [][][]string{rows, shares, scopes} {
		if i > 0 && len(table) == 1 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		if err := a.printTable(table); err != nil {
			return err
		}
	}
	for _, s := range states {
		a.sayStore(s.Name, s.File)
	}
	return nil
}

// sayStore tells what is wrong with what a state outlives the process in.
func (a *app) sayStore(name string, b *host.BackendStats) {
	if b == nil {
		return
	}
	if b.Error != "" {
		a.say("state %q: %s", name, b.Error)
	}
	if b.Lapsed > 0 {
		a.say("state %q: %s claims could have been taken by another host before they were confirmed: their records may be doubled", name, count(b.Lapsed))
	}
	if b.Forgotten > 0 {
		a.say("state %q: %s confirmations and releases were never sent, as too many waited: duplicates may pass on other hosts, or ids stay taken until this process ends; see whether Redis is reachable and fast enough", name, count(b.Forgotten))
	}
}

func sizeOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return bytesText(n)
}

// idTime is since when an id is remembered, or where nobody knows, until when.
func idTime(id host.StateID) string {
	switch {
	case id.Since != nil:
		return id.Since.Format(time.RFC3339)
	case id.Until != nil:
		return "until " + id.Until.Format(time.RFC3339)
	}
	return "-"
}

func standsAt(id host.StateID) string {
	if id.Offset < 0 {
		return "-"
	}
	return fmt.Sprintf("%s/%d@%d", id.Topic, id.Partition, id.Offset)
}

// idCall is a command about one id.
type idCall struct {
	use, short, long string
	call             func(s stateSource, ctx context.Context, state string, q host.StateQuery) (admin.StateIDsAnswer, error)
	// none is what it means that there is no such id.
	none func(a *app, state string, id string) error
}

var getID = idCall{
	use: "get NAME ID", short: "is an id known, since when, of which scope, pending or remembered?",
	long: `ID is what the plugin claimed: for dedup the value of its setting "id", such as the key or
a header. An id of several sources or of a number is put together by the plugin; --hex
takes its bytes.`,
	call: stateSource.FindID,
	none: func(a *app, state, id string) error {
		if a.json() {
			return nil
		}
		_, err := fmt.Fprintf(a.out, "state %q does not know %q: a record with it is new\n", state, id)
		return err
	},
}

var forgetID = idCall{
	use: "forget NAME ID", short: "forget one id: the next record with it passes",
	long: `The next record with the id passes as new, also if it is a duplicate of one that was
written: the topic then has it twice. An id whose record is in flight is not forgotten; its
outcome decides. ID is as for klamm state get.`,
	call: stateSource.ForgetID,
	none: func(_ *app, state, id string) error {
		return fmt.Errorf("state %q does not know %q: nothing was forgotten", state, id)
	},
}

func (a *app) stateIDCommand(c idCall) *cobra.Command {
	var at adminAt
	var plugin, topic string
	var isHex bool
	cmd := &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Args: exactly("NAME", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := host.StateQuery{ID: []byte(args[1]), Plugin: plugin, Topic: topic}
			if isHex {
				var err error
				if q.ID, err = hex.DecodeString(args[1]); err != nil {
					return usagef("--hex %q: %v", args[1], err)
				}
			}
			return a.ofState(at, args[0], func(s stateSource) error {
				answer, err := c.call(s, cmd.Context(), args[0], q)
				if err != nil {
					return err
				}
				return a.printIDs(c, answer, args[1])
			})
		},
	}
	cmd.Flags().StringVar(&plugin, "plugin", "", "only an id of this `plugin`")
	cmd.Flags().StringVar(&topic, "topic", "", "the `topic` of its record, where the state's scope is the topic (default: each that is known)")
	cmd.Flags().BoolVar(&isHex, "hex", false, "ID is hexadecimal")
	at.flags(cmd)
	return cmd
}

func (a *app) printIDs(c idCall, answer admin.StateIDsAnswer, id string) error {
	if a.json() {
		if err := printJSON(a.out, answer); err != nil {
			return err
		}
	}
	if len(answer.IDs) == 0 {
		return c.none(a, answer.State, id)
	}
	if a.json() {
		return nil
	}
	rows := [][]string{{"STATE", "PLUGIN", "SCOPE", "STATUS", "SINCE", "UNTIL", "RECORD"}}
	for _, known := range answer.IDs {
		rows = append(rows, []string{answer.State, known.Plugin, dash(known.Scope), known.Status, timeOrDash(known.Since), timeOrDash(known.Until), standsAt(known)})
	}
	return a.printTable(rows)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func timeOrDash(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

func (a *app) stateExportCommand() *cobra.Command {
	var at adminAt
	cmd := &cobra.Command{
		Use: "export NAME", Short: "the ids that are remembered, oldest first, as JSON lines",
		Long: `Each line has the keyed hash of an id, whose plugin's it is, where its record stands and
until when it is remembered. What an id was cannot be told from its hash.`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := bufio.NewWriterSize(a.out, 64<<10)
			err := a.ofState(at, args[0], func(s stateSource) error { return s.ExportIDs(cmd.Context(), args[0], w) })
			return cmp.Or(err, w.Flush())
		},
	}
	at.flags(cmd)
	return cmd
}
