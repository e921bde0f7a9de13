package runtime

import (
	"context"
	"strings"
	"testing"

	w "github.com/klamm-io/klamm/runtime/internal/wasmtest"
	"github.com/klamm-io/klamm/sdk/abi"
)

// What a guest says has no secrets in it: not in logs, not in what it prints, not
// in texts, which become headers of dead letters, not in errors.
func TestSecretsAreScrubbed(t *testing.T) {
	const key, token = "a key of hmac", "t0ken-from-outside"
	said := "uses " + token + " and " + key + "!"
	g := new(w.Guest)
	write := g.Import("wasi_snapshot_preview1", "fd_write", w.Types{w.I32, w.I32, w.I32, w.I32}, w.Types{w.I32})
	log := hostImport(g, abi.ImportLog)
	g.Data(1000, []byte(said+"\n"))
	g.Data(1200, append(le.AppendUint32(nil, 1000), le.AppendUint32(nil, uint32(len(said)+1))...))
	text := make([][]byte, 0, len(said)+2)
	text = append(text, mod(0), w.I32Const(int32(len(said))), w.I32Store(0))
	for i := range said {
		text = append(text, mod(4+int32(i)), w.I32Const(int32(said[i])), w.I32Store8(0))
	}
	g.Hook(abi.OnSend, 0,
		consts(1, 1000, int32(len(said))), w.Call(log),
		consts(2, 1200, 1, 1300), w.Call(write), w.Drop,
		w.LocalGet(0), w.I32Load(abi.BatchCount), w.I32Const(1), w.I32Eq, w.If, w.Unreachable, w.End,
		w.Seq(text...),
		w.ForEach(w.LocalGet(w.Verdict), w.LocalGet(w.Ptr), w.I32Load(abi.BatchModOff), w.I64ExtendU, w.I64Const(32), w.I64Shl,
			w.I64Const(int64(abi.DeadLetter)), w.I64Or, w.I64Store(0)),
		w.I64Const(int64(4+len(said))))
	h := newFakeHost()
	s := seatOf(t, g, PluginConfig{
		Grants: GrantLog, Secrets: map[string][]byte{"k": []byte(key)}, Hidden: [][]byte{[]byte(token), []byte("u")},
	}, h)
	v := judge(t, s, abi.OnSend, keyed(2, 0))
	got := string(v.At(0).Text) + "\n" + strings.Join(h.logs, "\n")
	_, err := s.Judge(context.Background(), abi.OnSend, keyed(1, 0))
	got += "\n" + err.Error() + "\n" + as[*TrapError](t, err).Said
	if n := strings.Count(got, "uses [redacted] and [redacted]!"); n < 5 || strings.Contains(got, key) || strings.Contains(got, token) {
		t.Errorf("%d of them:\n%s", n, got)
	}
}

func TestNoNameHoldsASecret(t *testing.T) {
	g := new(w.Guest)
	def := hostImport(g, abi.ImportMetricDef)
	g.Data(100, []byte("my_s3cret_total"))
	g.EachRecord(abi.OnSend, 0)
	g.Init = w.Seq(consts(0, 100, 15), w.Call(def), w.Drop, w.I64Const(int64(abi.PackInit(g.Hooks, g.Fields, 0))))
	p := newEngine(t).NewPlugin(PluginConfig{Name: "p", Grants: GrantMetrics, Hidden: [][]byte{[]byte("s3cret")}})
	err := p.Load(context.Background(), g.Bytes())
	wantProblem(t, err, "the name holds a secret")
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error tells it: %v", err)
	}
}
