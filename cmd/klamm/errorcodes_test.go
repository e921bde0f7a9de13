package main

import (
	"strings"
	"testing"

	"github.com/klamm-io/klamm/internal/kafkaerrors"
)

func TestErrorsOne(t *testing.T) {
	for _, word := range []string{"6", "NOT_LEADER_FOR_PARTITION", "not-leader-for-partition", "NotLeaderForPartition"} {
		klammRun(t, "errors", word).want(t, exitOK).
			wantOut(t, "NOT_LEADER_FOR_PARTITION  6", "class  retriable", "cause  ", "do     ", "klamm  ")
	}
	klammRun(t, "errors", "OUTCOME_UNKNOWN").want(t, exitOK).wantOut(t, "ErrOutcomeUnknown\n", "may be in the log")
	klammRun(t, "errors", "--", "-1").want(t, exitOK).wantOut(t, "UNKNOWN_SERVER_ERROR  -1")
}

func TestErrorsList(t *testing.T) {
	r := klammRun(t, "errors").want(t, exitOK).wantOut(t, "CODE", "INVALID_RECORD", "ErrOutcomeUnknown")
	if n, want := strings.Count(r.out, "\n"), 1+len(kafkaerrors.Codes())+len(kafkaerrors.Own()); n != want {
		t.Errorf("%d lines, want %d", n, want)
	}
	r = klammRun(t, "errors", "sequence").want(t, exitOK)
	if n := strings.Count(r.out, "\n"); n != 3 {
		t.Errorf("\"sequence\" finds %d lines:\n%s", n, r.out)
	}
}

func TestErrorsJSON(t *testing.T) {
	v := klammRun(t, "errors", "45", "--output", "json").want(t, exitOK).json(t)
	e := v["errors"].([]any)[0].(map[string]any)
	if v["schema"] != "klamm.errors/1" || e["name"] != "OUT_OF_ORDER_SEQUENCE_NUMBER" || e["code"] != 45.0 {
		t.Errorf("got %v", v)
	}
}

func TestErrorsUnknown(t *testing.T) {
	klammRun(t, "errors", "137").want(t, exitUsage).wantTalk(t, "no error code 137", "-1 to 136")
	klammRun(t, "errors", "NOT_LAEDER_FOR_PARTITION").want(t, exitUsage).wantTalk(t, "did you mean NOT_LEADER_FOR_PARTITION?")
	klammRun(t, "errors", "zzzzzz").want(t, exitUsage).wantTalk(t, `unknown error "zzzzzz"`, "klamm errors")
}
