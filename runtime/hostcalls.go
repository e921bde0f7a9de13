package runtime

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/tetratelabs/wazero/api"
)

// klammFunctions are the functions of import module "klamm".
var klammFunctions = map[string]hostFunction{
	abi.ImportLog:           (*instance).importLog,
	abi.ImportMetricDef:     (*instance).importMetricDef,
	abi.ImportReasonDef:     (*instance).importReasonDef,
	abi.ImportMetricAdd:     (*instance).importMetricAdd,
	abi.ImportMetricObserve: (*instance).importMetricObserve,
	abi.ImportClaim:         (*instance).importClaim,
	abi.ImportClaimBatch:    (*instance).importClaimBatch,
	abi.ImportStateGet:      (*instance).importStateGet,
	abi.ImportStatePut:      (*instance).importStatePut,
	abi.ImportNowNS:         (*instance).importNowNS,
	abi.ImportRandom:        (*instance).importRandom,
	abi.ImportHMAC:          (*instance).importHMAC,
	abi.ImportValue:         (*instance).importValue,
	abi.ImportHeaders:       (*instance).importHeaders,
}

// importGrants says which capability each import needs; others need none.
var importGrants = map[string]Grant{
	abi.ImportLog:           GrantLog,
	abi.ImportMetricDef:     GrantMetrics,
	abi.ImportMetricAdd:     GrantMetrics,
	abi.ImportMetricObserve: GrantMetrics,
	abi.ImportClaim:         GrantState,
	abi.ImportClaimBatch:    GrantState,
	abi.ImportStateGet:      GrantState,
	abi.ImportStatePut:      GrantState,
	abi.ImportNowNS:         GrantClock,
	abi.ImportRandom:        GrantRandom,
	abi.ImportHMAC:          GrantHMAC,
}

// phase says what an instance is doing, which decides what its imports answer.
type phase uint8

const (
	phaseIdle phase = iota
	phaseStart
	phaseInit
	phaseHook      // on_send, on_consume, on_acknowledgement, on_commit
	phasePartition // as phaseHook, without state
	phaseClose
)

const nameMax = 64 // bytes of a metric's, reason's or secret's name

func i32(v int32) uint64 { return uint64(uint32(v)) }

func (in *instance) importLog(s []uint64) {
	in.log(int32(s[0]), in.bytes("log", s[1], s[2]))
}

func (in *instance) importMetricDef(s []uint64) {
	kind, name := int32(s[0]), string(in.bytes("metric_def", s[1], min(uint64(uint32(s[2])), nameMax+1)))
	switch {
	case in.phase != phaseInit:
		trapf("metric_def: only %s may declare metrics", abi.ExportInit)
	case kind != abi.MetricCounter && kind != abi.MetricHistogram:
		trapf("metric_def: unknown kind %d of %q", kind, name)
	case !validName(name):
		trapf("metric_def: name %q; use up to %d of a-z, 0-9 and _, a letter first", name, nameMax)
	case len(in.metrics) == abi.ReasonsMax:
		trapf("metric_def: more than %d metrics", abi.ReasonsMax)
	}
	if in.secrets.in(name) {
		trapf("metric_def: the name holds a secret")
	}
	id, err := in.host.DefineMetric(kind, name)
	if err != nil {
		trapf("metric_def: %q: %v", name, err)
	}
	in.metrics = append(in.metrics, id)
	s[0] = uint64(len(in.metrics) - 1)
}

func (in *instance) importReasonDef(s []uint64) {
	code, name := uint32(s[0]), string(in.bytes("reason_def", s[1], min(uint64(uint32(s[2])), nameMax+1)))
	switch {
	case in.phase != phaseInit:
		trapf("reason_def: only %s may declare reasons", abi.ExportInit)
	case code < uint32(abi.ReasonFirst) || code > 0xffff:
		trapf("reason_def: code %d of %q; declared ones count from %d", code, name, abi.ReasonFirst)
	case !validName(name):
		trapf("reason_def: name %q; use up to %d of a-z, 0-9 and _, a letter first", name, nameMax)
	case in.reasons[uint16(code)] != "":
		trapf("reason_def: code %d of %q is that of %q", code, name, in.reasons[uint16(code)])
	case len(in.reasons) == abi.ReasonsMax:
		trapf("reason_def: more than %d reasons", abi.ReasonsMax)
	}
	if in.secrets.in(name) {
		trapf("reason_def: the name holds a secret")
	}
	in.reasons[uint16(code)] = name
}

// validName reports whether s can be a metric's name or a label's value
// anywhere.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(s) > 0 && len(s) <= nameMax
}

// metric translates the guest's id, which counts its own metrics, into the
// Host's.
func (in *instance) metric(what string, id uint64) int32 {
	i := uint32(id)
	if uint64(i) >= uint64(len(in.metrics)) {
		trapf("%s: metric %d of %d", what, int32(i), len(in.metrics))
	}
	return in.metrics[i]
}

func (in *instance) importMetricAdd(s []uint64) {
	in.host.AddMetric(in.metric("metric_add", s[0]), int64(s[1]))
}

func (in *instance) importMetricObserve(s []uint64) {
	in.host.ObserveMetric(in.metric("metric_observe", s[0]), api.DecodeF64(s[1]))
}

// record checks the index of a record of the running call.
func (in *instance) record(what string, index uint64) int {
	i := uint32(index)
	if uint64(i) >= uint64(in.running.count) {
		trapf("%s: record %d of %d", what, i, in.running.count)
	}
	return int(i)
}

func (in *instance) importClaim(s []uint64) {
	id := in.bytes("claim", s[1], s[2])
	if in.phase != phaseHook {
		s[0] = i32(abi.ClaimRefused)
		return
	}
	in.watch.charge(hostUnits)
	s[0] = i32(in.host.Claim(in.record("claim", s[0]), id, int64(s[3])))
}

// importClaimBatch claims the key of each record and sets bit i of the mask
// when the key of record i is new. Records without a key are not in the mask.
func (in *instance) importClaimBatch(s []uint64) {
	mask := in.bytes("claim_batch", s[0], uint64(in.running.count+7)/8)
	if in.phase != phaseHook || in.running.block.fields&abi.FieldKey == 0 {
		s[0] = i32(abi.ClaimRefused)
		return
	}
	clear(mask)
	in.watch.charge(hostUnits / 4 * in.running.count)
	if host, ok := in.host.(KeyClaimer); ok {
		s[0] = i32(host.ClaimKeys(in.running.block, int64(s[1]), mask))
		return
	}
	s[0] = i32(in.claimKeys(int64(s[1]), mask))
}

// claimKeys asks a Host that is no KeyClaimer.
func (in *instance) claimKeys(ttlMS int64, mask []byte) (fresh int32) {
	for i := range in.running.count {
		key := in.running.block.Key(i)
		if key == nil {
			continue
		}
		switch in.host.Claim(i, key, ttlMS) {
		case abi.ClaimNew:
			mask[i/8] |= 1 << (i % 8)
			fresh++
		case abi.ClaimRefused:
			return abi.ClaimRefused
		}
	}
	return fresh
}

func (in *instance) importStateGet(s []uint64) {
	key, dst := in.bytes("state_get", s[0], s[1]), in.bytes("state_get", s[2], s[3])
	if in.phase != phaseHook {
		s[0] = i32(abi.StateRefused)
		return
	}
	in.watch.charge(hostUnits)
	v, ok := in.host.StateGet(key)
	switch {
	case !ok:
		s[0] = i32(abi.StateNone)
	case len(v) > len(dst):
		s[0] = i32(abi.StateTooSmall)
	default:
		s[0] = uint64(copy(dst, v))
	}
}

func (in *instance) importStatePut(s []uint64) {
	key, value := in.bytes("state_put", s[0], s[1]), in.bytes("state_put", s[2], s[3])
	in.watch.charge(hostUnits)
	if in.phase != phaseHook || in.host.StatePut(key, value, int64(s[4])) != nil {
		s[0] = i32(abi.StateRefused)
		return
	}
	s[0] = 0
}

func (in *instance) importNowNS(s []uint64) { s[0] = uint64(time.Now().UnixNano()) }

func (in *instance) importRandom(s []uint64) {
	b := in.bytes("random", s[0], s[1])
	if len(b) > in.cfg.OutputMax {
		trapf("random: %d bytes, the limit is %d", len(b), in.cfg.OutputMax)
	}
	in.watch.charge(cryptUnits * len(b))
	_, _ = rand.Read(b) // never fails: it ends the process instead
}

// importHMAC writes the 32 bytes of HMAC-SHA-256 and answers with their number,
// or -1 for a secret that the configuration does not name.
func (in *instance) importHMAC(s []uint64) {
	name := in.bytes("hmac", s[0], s[1])
	msg := in.bytes("hmac", s[2], s[3])
	out := in.bytes("hmac", s[4], sha256.Size)
	secret, ok := in.cfg.Secrets[string(name)]
	if !ok {
		s[0] = i32(-1)
		return
	}
	if len(msg) > in.cfg.OutputMax {
		trapf("hmac: %d bytes, the limit is %d", len(msg), in.cfg.OutputMax)
	}
	mac := in.macs[string(name)]
	if mac == nil {
		mac = hmac.New(sha256.New, secret)
		in.macs[string(name)] = mac
	}
	in.watch.charge(cryptUnits * len(msg))
	mac.Reset()
	mac.Write(msg)
	mac.Sum(out[:0])
	s[0] = sha256.Size
}

// importValue answers with the value's length, -1 for null, and copies it if it
// fits into cap bytes.
func (in *instance) importValue(s []uint64) {
	i, dst := in.record("value", s[0]), in.bytes("value", s[1], s[2])
	v := in.host.Value(i)
	if v == nil {
		s[0] = i32(-1)
		return
	}
	if len(v) <= len(dst) {
		copy(dst, v)
	}
	s[0] = i32(int32(len(v)))
}

// importHeaders answers with the bytes that the headers take: a table of
// entries as in a record, with offsets from ptr, and the bytes behind it. It
// writes them if they fit into cap bytes.
func (in *instance) importHeaders(s []uint64) {
	i, dst := in.record("headers", s[0]), in.bytes("headers", s[1], s[2])
	n, size := 0, 0
	in.host.Headers(i, func(key string, value []byte) {
		n++
		size += len(key) + len(value)
	})
	size += n * abi.HeaderEntrySize
	if size <= len(dst) {
		at, entry := n*abi.HeaderEntrySize, dst
		in.host.Headers(i, func(key string, value []byte) {
			if len(entry) < abi.HeaderEntrySize || at+len(key)+len(value) > size {
				return // there are more than before: the host's bug, not ours to fall over
			}
			le.PutUint32(entry[abi.HdrKeyOff:], uint32(at))
			le.PutUint32(entry[abi.HdrKeyLen:], uint32(len(key)))
			at += copy(dst[at:], key)
			le.PutUint32(entry[abi.HdrValueOff:], uint32(at))
			le.PutUint32(entry[abi.HdrValueLen:], uint32(lenOrNull(value)))
			at += copy(dst[at:], value)
			entry = entry[abi.HeaderEntrySize:]
		})
	}
	s[0] = i32(int32(min(size, 1<<31-1)))
}
