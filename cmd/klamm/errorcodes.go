package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/klamm-io/klamm"
)

// codeHelp is what one line of `klamm errors` knows.
type codeHelp struct {
	Code  int    `json:"code"`
	Name  string `json:"name"`
	Class string `json:"class"`
	Cause string `json:"cause"`
	Do    string `json:"do"`
	Klamm string `json:"klamm"`
}

// The classes, which Kafka's clients know too (KIP-1050).
const (
	classNone      = "success"
	classRetriable = "retriable"
	classRefresh   = "retriable, refresh metadata"
	classRejoin    = "rejoin the group"
	classAbortable = "abort the transaction"
	classFatal     = "fatal for the producer"
	classConfig    = "configuration or rights"
	classFailed    = "not retriable"
)

// klammDoes is what Klamm does on its own about each class.
var klammDoes = map[string]string{
	classNone:      "completes the records as out",
	classRetriable: "retries with backoff until delivery_timeout_ms; sequence numbers keep the retry from doubling a record",
	classRefresh:   "asks for the leader anew and retries until delivery_timeout_ms",
	classRejoin:    "joins the group again; what was not committed is read again",
	classAbortable: "fails the transaction's records; the transaction can be aborted and tried again",
	classFatal:     "fails what is buffered and refuses new records; open a new producer",
	classConfig:    "fails the request and tells the caller; nothing is retried",
	classFailed:    "fails the records with this code; on_acknowledgement plugins see it",
}

func helpFor(c klamm.Code) codeHelp {
	text := codeTexts[c]
	class := text.class
	if class == "" && c.Retriable() {
		class = classRetriable
	}
	if class == "" {
		class = classFailed
	}
	does := text.klamm
	if does == "" {
		does = klammDoes[class]
	}
	return codeHelp{int(c), c.Name(), class, text.cause, text.do, does}
}

// fact is one of Klamm's own errors.
type fact struct {
	name string
	err  error
	help codeHelp
}

var facts = []fact{
	{"CLOSED", klamm.ErrClosed, codeHelp{Class: classFailed, Cause: "the producer, consumer or host was closed", Do: "open a new one", Klamm: "runs no plugin and accepts nothing"}},
	{"TIMEOUT", klamm.ErrTimeout, codeHelp{Class: classFailed, Cause: "max_block_ms or delivery_timeout_ms passed before the record was sent; it is not in the log", Do: "look at the brokers; send it again if it still matters", Klamm: "fails the record and releases what dedup claimed for it"}},
	{"OUTCOME_UNKNOWN", klamm.ErrOutcomeUnknown, codeHelp{Class: classFailed, Cause: "the record was sent and no answer came within delivery_timeout_ms; it may be in the log", Do: "read the topic before sending it again where a duplicate would hurt", Klamm: "fails the record; on_unknown = \"release\" or \"hold\" decides about its claims"}},
	{"BUFFER_FULL", klamm.ErrBufferFull, codeHelp{Class: classFailed, Cause: "buffer_memory or the acknowledgement slots stayed full for max_block_ms", Do: "send slower, raise buffer_memory, or look why the brokers are slow", Klamm: "lets waiting senders in first come, first served"}},
	{"RECORD_TOO_LARGE", klamm.ErrRecordTooLarge, codeHelp{Class: classFailed, Cause: "the record alone exceeds max_request_size, buffer_memory or the broker's limit", Do: "raise max_request_size and the topic's max.message.bytes, or send less", Klamm: "fails the record at once"}},
	{"INVALID_TOPIC", klamm.ErrInvalidTopic, codeHelp{Class: classConfig, Cause: "Kafka does not allow that topic name", Do: "use at most 249 of a-z A-Z 0-9 . _ -", Klamm: "fails the record at once"}},
	{"UNKNOWN_TOPIC", klamm.ErrUnknownTopic, codeHelp{Class: classConfig, Cause: "the topic does not exist and may not be created", Do: "klamm topic create TOPIC, or cluster.allow_auto_create_topics = true", Klamm: "asks once more, then fails the record"}},
	{"INVALID_PARTITION", klamm.ErrInvalidPartition, codeHelp{Class: classFailed, Cause: "the partition is negative or the topic has fewer", Do: "look at `klamm topic describe TOPIC`", Klamm: "fails the record; the partitioner's policy decides when a plugin chose it"}},
	{"FENCED", klamm.ErrFenced, codeHelp{Class: classFatal, Cause: "another producer with the same transactional.id took over", Do: "give each host its own [host] id", Klamm: klammDoes[classFatal]}},
	{"BROKER_UNREACHABLE", klamm.ErrBrokerUnreachable, codeHelp{Class: classRetriable, Cause: "no broker could be reached or let us in", Do: "check cluster.bootstrap_servers, TLS and SASL", Klamm: "names each address with what it answered; exit code 4"}},
	{"TOPIC_REFUSED", klamm.ErrTopicRefused, codeHelp{Class: classConfig, Cause: "a plugin chose a topic that its configuration does not allow, or that no plugin may write to", Do: "list it in the plugin's topics", Klamm: "treats it as the plugin's fault and follows on_error"}},
	{"BREAKER_OPEN", klamm.ErrBreakerOpen, codeHelp{Class: classFailed, Cause: "a plugin has failed too often and is not called for now", Do: "look at its log lines; [plugins.breaker] holds the limits", Klamm: "follows the plugin's on_error without the call, and tries again after the cooldown"}},
}

// allHelp returns the codes, then Klamm's own errors.
func allHelp() []codeHelp {
	var all []codeHelp
	for _, c := range sortedKeys(codeTexts) {
		all = append(all, helpFor(c))
	}
	for _, f := range facts {
		all = append(all, f.codeHelp())
	}
	return all
}

func (f fact) codeHelp() codeHelp {
	h := f.help
	h.Name = f.name
	return h
}

// lookup finds a code by number, or a name in any case and with any separators.
func lookup(word string) (codeHelp, error) {
	all := allHelp()
	if n, err := strconv.Atoi(word); err == nil {
		i := slices.IndexFunc(all[:len(codeTexts)], func(h codeHelp) bool { return h.Code == n })
		if i < 0 {
			return codeHelp{}, usagef("Kafka has no error code %d; there are -1 to %d", n, all[len(codeTexts)-1].Code)
		}
		return all[i], nil
	}
	var names []string
	for _, h := range all {
		if plainName(h.Name) == plainName(word) {
			return h, nil
		}
		names = append(names, h.Name)
	}
	if near := nearest(word, names); near != "" {
		return codeHelp{}, usagef("unknown error %q; did you mean %s?", word, near)
	}
	return codeHelp{}, &failure{err: fmt.Errorf("unknown error %q", word), code: exitUsage, do: "`klamm errors` lists all; a part of a name also finds them"}
}

// plainName makes NotLeaderForPartition, not-leader-for-partition,
// ErrNotLeaderForPartition and NOT_LEADER_FOR_PARTITION the same.
func plainName(s string) string {
	s = strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	s = strings.TrimSuffix(s, "exception")
	if rest, ok := strings.CutPrefix(s, "err"); ok && !strings.HasPrefix(rest, "or") {
		return rest
	}
	return s
}

func (a *app) errorsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "errors [CODE|NAME]",
		Short: "a Kafka error: class, cause, what to do, what Klamm does",
		Long:  "Explains Kafka's error codes and Klamm's own errors. A part of a name lists all that contain it.",
		Example: `  klamm errors 45
  klamm errors NOT_LEADER_FOR_PARTITION
  klamm errors fenced`,
		Args: exactly("[CODE|NAME]"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, h := range allHelp() {
				names = append(names, h.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.printErrors(allHelp())
			}
			h, err := lookup(args[0])
			if err == nil {
				return a.printError(h)
			}
			if some := containing(args[0]); len(some) > 0 {
				return a.printErrors(some)
			}
			return err
		},
	}
}

func containing(word string) []codeHelp {
	part := plainName(word)
	if len(part) < 3 {
		return nil
	}
	return slices.DeleteFunc(allHelp(), func(h codeHelp) bool { return !strings.Contains(plainName(h.Name), part) })
}

func (a *app) printErrors(list []codeHelp) error {
	if a.json() {
		return printJSON(a.out, map[string]any{"schema": "klamm.errors/1", "errors": list})
	}
	rows := [][]string{{"CODE", "NAME", "CLASS"}}
	for _, h := range list {
		rows = append(rows, []string{h.number(), h.Name, h.Class})
	}
	return a.printTable(rows)
}

// number is empty for Klamm's own errors, which have none.
func (h codeHelp) number() string {
	if h.Code == 0 && h.Name != klamm.CodeNone.Name() {
		return ""
	}
	return strconv.Itoa(h.Code)
}

func (a *app) printError(h codeHelp) error {
	if a.json() {
		return printJSON(a.out, map[string]any{"schema": "klamm.errors/1", "errors": []codeHelp{h}})
	}
	bold := a.colour(a.outTerminal)
	_, err := fmt.Fprintf(a.out, "%s\n  class  %s\n  cause  %s\n  do     %s\n  klamm  %s\n",
		paint(bold, "1", strings.TrimSpace(h.Name+"  "+h.number())), h.Class, h.Cause, h.Do, h.Klamm)
	return err
}

// factOf names the error of Klamm's own behind err, or "".
func factOf(err error) string {
	for _, f := range facts {
		if errors.Is(err, f.err) {
			return f.name
		}
	}
	return ""
}
