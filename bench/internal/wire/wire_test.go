package wire

import (
	"bytes"
	"testing"

	"github.com/klamm-io/klamm/bench/internal/ops"
	"github.com/klamm-io/klamm/bench/internal/workload"
)

func TestJudge(t *testing.T) {
	records := workload.NewRing(200).Batch(0, 64)
	in := le.AppendUint32(nil, uint32(len(records)))
	for _, r := range records {
		in = AppendRecord(in, r.Key, r.Value)
	}
	for _, op := range ops.All() {
		claims := workload.NewClaims()
		out := Judge(op, in, nil, func(off, n int) bool { return claims.Claim(in[off : off+n]) })
		got := make([]ops.Result, len(records))
		if err := Verdicts(out, got); err != nil {
			t.Fatal(err)
		}
		for i, want := range workload.Expect(op, workload.NewClaims(), records) {
			if got[i].Code != want.Code || got[i].Partition != want.Partition || !bytes.Equal(got[i].Value, want.Value) {
				t.Errorf("%s of record %d: got %v, want %v", op, i, got[i], want)
			}
		}
		if err := Verdicts(out[:len(out)-1], got); err == nil {
			t.Errorf("%s: verdicts that are cut short were taken", op)
		}
	}
}
