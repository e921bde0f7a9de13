package produce

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
)

// Commands of scripts about transactions, which begin with "config txn=ID [v2]
// [timeout=D]":
//
//	init | begin | commit | abort [WAIT]   call it and print how it ends; WAIT
//	                           bounds the call, not what it has begun
//	offsets p=0 at=5 [generation=3]        SendOffsets of group g, member m
//	control CODE|+CODE|lost|+lost|late=D   the next control request is refused;
//	                           with + it is carried out all the same; late: after D
//	takeover                   another producer of the same id initializes
//	generation N               of the group
//	committed                  what a reader of committed records sees
//
// Output: "c < EndTxn ..." is a request to the coordinator, with its answer.

func (s *script) transactional(id string) {
	s.conf.TransactionalID = id
	c := newModelCoordinator(s.net)
	s.coordinator = c
	c.fault = func(kmsg.Request) controlFault {
		s.h.mu.Lock()
		defer s.h.mu.Unlock()
		if len(s.faults) == 0 {
			return controlFault{}
		}
		f := s.faults[0]
		s.faults = s.faults[1:]
		return f
	}
	c.note = func(req kmsg.Request, code klamm.Code, lost bool) {
		result := ""
		if code != klamm.CodeNone {
			result = ": " + code.Name()
		}
		if lost {
			result = ": no answer"
		}
		s.printf("c < %s%s\n", controlText(req), result)
	}
}

func (s *script) doTxn(command string, words []string, a args) bool {
	switch command {
	case "init", "begin", "commit", "abort":
		wait := time.Hour
		if len(words) > 0 {
			var err error
			if wait, err = time.ParseDuration(words[0]); err != nil {
				s.t.Fatal(err)
			}
		}
		s.callTxn(command, wait)
	case "offsets":
		s.sendOffsets(a)
	case "control":
		s.control(words)
	case "takeover":
		s.takeover()
	case "generation":
		s.net.mu.Lock()
		s.coordinator.generation = int32(a.number(words[0]))
		s.net.mu.Unlock()
	case "committed":
		s.net.mu.Lock()
		for p := range int32(s.net.partCount) {
			if refs, open := s.net.logs[p].committed(); len(refs) > 0 || open {
				s.printf("p%d %v%s\n", p, refs, map[bool]string{true: " and an open transaction"}[open])
			}
		}
		for _, at := range []string{"g/0", "g/1", "g/2"} {
			if offset, ok := s.coordinator.commits[at]; ok {
				s.printf("%s offset %d\n", at, offset)
			}
		}
		s.net.mu.Unlock()
	default:
		return false
	}
	return true
}

func (s *script) callTxn(what string, wait time.Duration) {
	p := s.pipeline()
	s.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		var err error
		switch what {
		case "init":
			err = p.InitTransactions(ctx)
		case "begin":
			var txn uint32
			if txn, err = p.BeginTransaction(ctx); err == nil {
				s.h.mu.Lock()
				s.h.txn = txn
				s.h.mu.Unlock()
			}
		case "commit":
			err = p.CommitTransaction(ctx)
		case "abort":
			err = p.AbortTransaction(ctx)
		}
		s.printResult(what, err)
	})
}

// printResult keeps what a call returned for the end of the command: it returns
// while the pipeline goes on, so its place between requests would be chance.
func (s *script) printResult(what string, err error) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if err != nil {
		fmt.Fprintf(&s.results, "%s: %s: %v\n", what, klamm.ClassOf(err), err)
		return
	}
	fmt.Fprintf(&s.results, "%s: ok\n", what)
}

func (s *script) sendOffsets(a args) {
	p := s.pipeline()
	offsets := map[klamm.TopicPartition]int64{{Topic: "in", Partition: int32(a.int("p", 0))}: int64(a.int("at", 1))}
	group := GroupMetadata{Group: "g", Generation: int32(a.int("generation", -1)), Member: "m"}
	s.calls.Go(func() {
		s.printResult("offsets", p.SendOffsets(context.Background(), offsets, group))
	})
}

func (s *script) control(words []string) {
	var f controlFault
	name, apply := strings.CutPrefix(words[0], "+")
	f.apply = apply
	switch {
	case name == "ok":
	case name == "lost":
		f.lost = true
	case strings.HasPrefix(name, "late="):
		d, err := time.ParseDuration(strings.TrimPrefix(name, "late="))
		if err != nil {
			s.t.Fatal(err)
		}
		f.late = d
	default:
		f.code = code(name)
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.faults = append(s.faults, f)
}

// takeover is what another producer of the same transactional id does first.
func (s *script) takeover() {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = &s.conf.TransactionalID, -1, -1
	req.TransactionTimeoutMillis = 60_000
	for controlCode(s.coordinator.handle(req)) == klamm.CodeConcurrentTransactions {
	}
}
