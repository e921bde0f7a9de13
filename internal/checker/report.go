package checker

import (
	"fmt"
	"slices"
	"strings"
)

// Schema names the report's JSON form.
const Schema = "klamm.verify/1"

// Report is the verdict on a history and its log. The first fields, their names
// and their order are a contract.
type Report struct {
	Schema string `json:"schema"`
	// Sent counts the records that were given to the producer.
	Sent int64 `json:"sent"`
	// Lost were acknowledged, and the log does not have them. Those that were
	// acknowledged beyond the log's end are Unseen instead.
	Lost int64 `json:"lost"`
	// Duplicated have more than one offset.
	Duplicated int64 `json:"duplicated"`
	// Reordered stand behind a later record of their key, or of their producer,
	// in the same partition.
	Reordered int64 `json:"reordered"`
	// Completions counts callbacks. Each record has one.
	Completions int64 `json:"completions"`

	Unseen int64 `json:"unseen"`
	// Ghosts are in the log though they failed for certain, were dropped, or
	// belong to an aborted transaction (G1a).
	Ghosts int64 `json:"ghosts"`
	// Acknowledged, FailedDefinite, Dropped, DeadLettered, Refused and Unknown
	// are the records by their completions. UnknownWritten are those of unknown
	// outcome that the log has: not a fault.
	Acknowledged   int64 `json:"acknowledged"`
	FailedDefinite int64 `json:"failed_definite"`
	Dropped        int64 `json:"dropped"`
	DeadLettered   int64 `json:"dead_lettered"`
	Refused        int64 `json:"refused"`
	Unknown        int64 `json:"unknown"`
	UnknownWritten int64 `json:"unknown_written"`
	// Visible are the records that a reader of committed ones finds.
	Visible int64 `json:"visible"`
	// Uncompleted never got a callback, CompletedTwice got more than one. A
	// history that was cut short has records without one, which count as of
	// unknown outcome.
	Uncompleted    int64 `json:"uncompleted"`
	CompletedTwice int64 `json:"completed_twice"`
	// Inconsistent: the callback named another place than the log has, or two
	// readings of one offset differ.
	Inconsistent int64 `json:"inconsistent"`
	// Misplaced are in another partition than was asked for, or than the other
	// records of their key are.
	Misplaced int64 `json:"misplaced"`
	// Corrupt records' bytes are not those that were sent.
	Corrupt int64 `json:"corrupt"`
	// Foreign records are in the log and not in the history.
	Foreign int64 `json:"foreign"`
	// Fenced records come after one of a later epoch of their producer id.
	Fenced int64 `json:"fenced"`
	// TornTxns are transactions of which the log has a part.
	TornTxns int64 `json:"torn_transactions"`
	// OffsetFaults are offsets of the input that were committed without the records
	// of their transaction, or not with them.
	OffsetFaults int64 `json:"offset_faults"`
	// InterceptorFaults are records that interceptors met not exactly once.
	InterceptorFaults int64 `json:"interceptor_faults"`
	// Duplicates were sent with the id of one before. FalseDrops were dropped as
	// duplicates of records that are not there, or that the window had ended for.
	// DedupDoubled are acknowledged twins that both got through within it; those
	// after it are DedupLate, and DedupUnknown are in the log beside a twin though
	// nobody knew it: neither is a fault.
	Duplicates   int64 `json:"duplicates"`
	FalseDrops   int64 `json:"false_drops"`
	DedupDoubled int64 `json:"dedup_doubled"`
	DedupLate    int64 `json:"dedup_late"`
	DedupUnknown int64 `json:"dedup_unknown"`
	// PollSkips, PollRepeats and PollGhosts are a consumer's: records of the log
	// that it was not given, or again, or too early.
	PollSkips   int64 `json:"poll_skips"`
	PollRepeats int64 `json:"poll_repeats"`
	PollGhosts  int64 `json:"poll_ghosts"`

	// Complete: the history was ended in order. TornBytes are those of its end
	// that could not be read.
	Complete  bool   `json:"complete"`
	TornBytes int64  `json:"torn_bytes"`
	Seed      uint64 `json:"seed"`
	// Faults counts those that were made while the records were sent.
	Faults map[string]int64 `json:"faults,omitempty"`
	findings
	OK bool `json:"ok"`
}

// findings are the first few of a report.
type findings struct {
	// Examples are in words.
	Examples []string `json:"examples,omitempty"`
}

// examplesMax is how many findings are told in words.
const examplesMax = 20

func (f *findings) finding(n *int64, format string, args ...any) {
	*n++
	if len(f.Examples) < examplesMax {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// counter returns what counts the records of an outcome without a record in the
// log.
func (r *Report) counter(o Outcome) *int64 {
	switch o {
	case FailDefinite:
		return &r.FailedDefinite
	case Refused:
		return &r.Refused
	case Dropped:
		return &r.Dropped
	}
	return &r.DeadLettered
}

// Violation is a promise that was not kept.
type Violation struct {
	Name  string
	Count int64
}

// Violations returns those that the report counts, worst first.
func (r *Report) Violations() []Violation {
	all := []Violation{
		{"lost", r.Lost}, {"unseen", r.Unseen}, {"duplicated", r.Duplicated}, {"ghosts", r.Ghosts}, {"reordered", r.Reordered},
		{"corrupt", r.Corrupt}, {"misplaced", r.Misplaced}, {"inconsistent", r.Inconsistent}, {"fenced", r.Fenced},
		{"torn transactions", r.TornTxns}, {"offset faults", r.OffsetFaults}, {"uncompleted", r.Uncompleted}, {"completed twice", r.CompletedTwice},
		{"interceptor faults", r.InterceptorFaults}, {"false drops", r.FalseDrops}, {"let through twice", r.DedupDoubled},
		{"poll skips", r.PollSkips}, {"poll repeats", r.PollRepeats}, {"poll ghosts", r.PollGhosts}, {"foreign", r.Foreign},
	}
	return counted(all)
}

// counted leaves out what there is none of.
func counted(all []Violation) []Violation {
	return slices.DeleteFunc(all, func(v Violation) bool { return v.Count == 0 })
}

// Err returns an error that names what is wrong and the seed, nil when all is
// well.
func (r *Report) Err() error { return violationsError(r.Violations(), r.Sent, r.Seed, r.Examples) }

func violationsError(found []Violation, records int64, seed uint64, examples []string) error {
	if len(found) == 0 {
		return nil
	}
	var words []string
	for _, v := range found {
		words = append(words, fmt.Sprintf("%d %s", v.Count, v.Name))
	}
	return fmt.Errorf("of %d records: %s (seed %d)\n  %s", records, strings.Join(words, ", "), seed, strings.Join(examples, "\n  "))
}
