// Package kafkaerrors explains errors: Kafka's codes, Klamm's own errors, and
// what klamm exits with. For each it knows the class, the cause in a line, what
// to do about it, and what Klamm does by itself. docs/errors.md is written from
// it.
//
// All functions are safe for concurrent use.
package kafkaerrors

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/klamm-io/klamm"
)

// Class says who can do something about an error. Kafka's clients know the same
// classes (KIP-1050).
type Class string

// The classes.
const (
	Success       Class = "success"
	Retriable     Class = "retriable"                  // the same request again, after a wait
	Refresh       Class = "retriable, after a refresh" // after asking who leads the partition or group
	Abortable     Class = "abort the transaction"      // which can then be tried again
	Application   Class = "application"                // the request or record is refused; the client goes on
	Configuration Class = "configuration or rights"    // refused until somebody changes a setting or a right
	Fatal         Class = "fatal"                      // the producer or consumer is at its end
	Internal      Class = "between brokers"            // a client never sees it
)

// about says what each class means, and does what Klamm does about its errors
// unless an entry tells otherwise.
var about = []struct {
	class       Class
	means, does string
}{
	{Success, "It is none.", "nothing"},
	{Retriable, "The same request can succeed later.", "retries with backoff, when producing until delivery_timeout_ms; sequence numbers keep a retry from doubling records"},
	{Refresh, "The request went to the wrong broker, or the cluster is changing.", "asks who leads now and retries with backoff, when producing until delivery_timeout_ms"},
	{Abortable, "The transaction is lost, the producer is not.", "aborts the transaction"},
	{Application, "This request or record is refused. Others go on.", "fails the request or record with this code; on_acknowledgement plugins see it"},
	{Configuration, "It is refused until a setting or a right is changed.", "fails the request and tells the caller; nothing is retried"},
	{Fatal, "The producer or consumer cannot go on.", "fails what is buffered and what follows; a new one must be opened"},
	{Internal, "Brokers and controllers tell each other; a client has no part in it.", "fails the request with this code, should it ever come"},
}

// Entry explains one error.
type Entry struct {
	// Code is Kafka's, and 0 for Klamm's own errors, whose Err is not nil.
	Code  klamm.Code `json:"code"`
	Name  string     `json:"name"`
	Class Class      `json:"class"`
	Cause string     `json:"cause"`
	Do    string     `json:"do"`
	Klamm string     `json:"klamm"`
	Err   error      `json:"-"`
}

// Codes returns the entries of Kafka's codes in their order.
func Codes() []Entry {
	codes := make([]klamm.Code, 0, len(texts))
	for c := range texts {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	entries := make([]Entry, len(codes))
	for i, c := range codes {
		entries[i], _ = Of(c)
	}
	return entries
}

// Of returns the entry of a code. It reports false for one that this build
// does not know.
func Of(c klamm.Code) (Entry, bool) {
	t, ok := texts[c]
	if !ok {
		return Entry{}, false
	}
	e := Entry{Code: c, Name: c.Name(), Class: t.class, Cause: t.cause, Do: t.do, Klamm: t.klamm}
	for _, a := range about {
		if e.Klamm == "" && a.class == e.Class {
			e.Klamm = a.does
		}
	}
	return e, true
}

// OfError returns the entry of the fact behind an error: the broker's code, or
// else Klamm's own. It reports false where it is neither.
func OfError(err error) (Entry, bool) {
	var broker *klamm.BrokerError
	if errors.As(err, &broker) {
		if e, ok := Of(broker.Code); ok {
			return e, true
		}
	}
	for _, e := range own {
		if errors.Is(err, e.Err) {
			return e, true
		}
	}
	return Entry{}, false
}

// Lookup finds an entry by code (-1, 45), by name in any case and with any
// separators, by the name that it has in other clients
// (NotLeaderOrFollowerException, ErrOutOfOrderSequenceNumber), or by the name of
// one of Klamm's own errors (ErrFenced, BUFFER_FULL). Where nothing has that
// name, near is the one that was most likely meant, or "".
func Lookup(word string) (e Entry, near string, ok bool) {
	if n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 16); err == nil {
		e, ok = Of(klamm.Code(n))
		return e, "", ok
	}
	for _, same := range []func(name string) bool{
		func(name string) bool { return strings.EqualFold(name, strings.TrimSpace(word)) },
		func(name string) bool { return plainName(name) == plainName(word) },
	} {
		for _, e := range append(Codes(), own...) {
			if same(e.Name) {
				return e, "", true
			}
		}
		for _, alias := range sortedAliases() {
			if same(alias) {
				e, _ = Of(aliases[alias])
				return e, "", true
			}
		}
	}
	names := sortedAliases()
	for _, e := range append(Own(), Codes()...) {
		names = append(names, e.Name)
	}
	slices.Reverse(names) // Kafka's own names first
	return Entry{}, nearest(word, names), false
}

// Containing returns the entries whose names hold the word, for those who know
// half of one. Words of less than three letters find nothing.
func Containing(word string) (found []Entry) {
	plain := plainName(word)
	if len(plain) < 3 {
		return nil
	}
	for _, e := range append(Codes(), own...) {
		if strings.Contains(plainName(e.Name), plain) {
			found = append(found, e)
		}
	}
	return found
}

// plainName makes NOT_LEADER_FOR_PARTITION, not-leader-for-partition,
// NotLeaderForPartitionException and ErrNotLeaderForPartition the same.
func plainName(s string) string {
	s = strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.TrimSpace(s))
	if rest, ok := strings.CutPrefix(s, "Err"); ok && rest != "" && 'A' <= rest[0] && rest[0] <= 'Z' {
		s = rest
	}
	s = strings.ToLower(s)
	return strings.TrimSuffix(s, "exception")
}

// nearest returns the candidate that s is most likely a slip of, or "".
func nearest(s string, candidates []string) string {
	plain := plainName(s)
	best, bestDistance := "", max(1, len(plain)/4)+1
	for _, c := range candidates {
		if d := distance(plain, plainName(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts letters to insert, remove, change or swap with a neighbour.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b)) // no name is that long
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
