// Command go is the conformance plugin written with the Go SDK. README.md of the
// folder above says what it must do.
package main

import (
	"encoding/hex"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/klamm-io/klamm/sdk/plugin"
)

var (
	hooks  = plugin.Int("hooks", 31)
	fields = plugin.Int("fields", 63)
	ttlMS  = plugin.Int("ttl_ms", 0)
	refuse = plugin.String("refuse", "")

	counterA  = plugin.Counter("conf_a_total")
	counterB  = plugin.Counter("conf_b_total")
	histogram = plugin.Histogram("conf_h")

	_ = plugin.Reason("conf_first")
	_ = plugin.Reason("conf_second")
)

func init() { plugin.OnInit(start) }

func main() {}

func start(in *plugin.Init) error {
	plugin.LogInfo("init plugin=", in.Plugin, " chain=", in.Chain, " client=", in.ClientID,
		" lane=", strconv.Itoa(in.Lane), "/", strconv.Itoa(in.Lanes), " topics=", strings.Join(in.Topics, ","))
	if refuse.Get() != "" {
		return errors.New(refuse.Get())
	}
	mask, f := hooks.Get(), plugin.Fields(fields.Get())
	if mask&1 != 0 {
		plugin.OnSend(judge, f)
	}
	if mask&2 != 0 {
		plugin.OnAcknowledgement(acknowledged, f)
	}
	if mask&4 != 0 {
		plugin.OnConsume(judge, f)
	}
	if mask&8 != 0 {
		plugin.OnCommit(committed)
	}
	if mask&16 != 0 {
		plugin.Partitioner(judge, f)
	}
	return nil
}

// scriptMax is the longest value that is taken for a script.
const scriptMax = 4096

func judge(b *plugin.Batch) error {
	for i, r := range b.All() {
		script := ""
		if key := string(r.Key()); strings.HasPrefix(key, "!") {
			script = key[1:]
		} else if r.ValueLen() <= scriptMax {
			script = string(r.Value())
		}
		if script == "" {
			continue
		}
		for line := range strings.SplitSeq(script, "\n") {
			if err := step(b, i, r, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func step(b *plugin.Batch, i int, r plugin.Record, line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(first, 10, 64)
	switch verb {
	case "pass":
		r.Pass()
	case "drop":
		r.DropText(plugin.ReasonCode(n), second)
	case "fail":
		r.FailFor(plugin.ReasonCode(n), second)
	case "dead":
		r.DeadLetterFor(plugin.ReasonCode(n), second)
	case "route":
		if n < 0 {
			r.ClearPartition()
		} else {
			r.Route(uint32(n))
		}
	case "value":
		r.SetValue(nullable(rest))
	case "fill":
		r.SetValue([]byte(strings.Repeat(second, int(n))))
	case "key":
		r.SetKey(nullable(rest))
	case "topic":
		r.SetTopic(rest)
	case "time":
		r.SetTimestamp(time.UnixMilli(n))
	case "add":
		r.AddHeader(first, nullable(second))
	case "addfill":
		count, char, _ := strings.Cut(second, " ")
		n, _ := strconv.Atoi(count)
		r.AddHeader(first, []byte(strings.Repeat(char, n)))
	case "del":
		r.RemoveHeaders(rest)
	case "delat":
		r.RemoveHeader(int(n))
	default:
		return read(b, i, r, verb, rest)
	}
	return nil
}

// read does the verbs that answer with a header.
func read(b *plugin.Batch, i int, r plugin.Record, verb, rest string) error {
	switch verb {
	case "dump":
		r.AddHeader("dump", []byte(dump(r.Entry, b.Now())))
	case "last":
		v, ok := r.Header(rest)
		text := "none"
		if ok {
			text = digest(v)
		}
		r.AddHeader("last", []byte(text))
	case "all":
		var all []string
		for v := range r.Headers(rest) {
			all = append(all, digest(v))
		}
		r.AddHeader("all", []byte(strings.Join(all, ",")))
	case "murmur":
		r.AddHeader("murmur", []byte(strconv.Itoa(int(plugin.Murmur2([]byte(rest))))))
	case "clock":
		r.AddHeader("clock", []byte(strconv.FormatInt(b.Now().UnixMilli(), 10)))
	default:
		return host(b, i, r, verb, rest)
	}
	return nil
}

// host does the verbs that reach the host.
func host(b *plugin.Batch, i int, r plugin.Record, verb, rest string) error {
	ttl := time.Duration(ttlMS.Get()) * time.Millisecond
	first, second, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(second, 10, 64)
	switch verb {
	case "claim":
		r.AddHeader("claim", []byte(strconv.Itoa(int(b.Claim(i, []byte(rest), ttl)))))
	case "claimkeys":
		fresh := "0"
		if b.ClaimKeys(ttl).Has(i) {
			fresh = "1"
		}
		r.AddHeader("fresh", []byte(fresh))
	case "put":
		plugin.StatePut([]byte(first), []byte(second), ttl)
	case "get":
		v, ok := plugin.StateGet([]byte(rest))
		if !ok {
			v = nil
		}
		r.AddHeader("got", v)
	case "hmac":
		mac, err := plugin.HMAC(first, []byte(second))
		if err != nil {
			r.AddHeader("hmac", nil)
		} else {
			r.AddHeader("hmac", hex.AppendEncode(nil, mac[:]))
		}
	case "random":
		var x, y [16]byte
		plugin.Random(x[:])
		plugin.Random(y[:])
		r.AddHeader("random", []byte(map[bool]string{true: "differ", false: "equal"}[x != y]))
	case "now":
		if plugin.Now().Year() > 2023 {
			r.AddHeader("now", []byte("ok"))
		}
	case "log":
		log(first, second)
	case "count":
		if first == "a" {
			counterA.Add(n)
		} else {
			counterB.Add(n)
		}
	case "observe":
		v, _ := strconv.Atoi(rest)
		histogram.Observe(float64(v))
	case "error":
		return errors.New(rest)
	case "trap":
		panic(rest)
	default:
		return errors.New("no verb " + strconv.Quote(verb))
	}
	return nil
}

func log(level, text string) {
	switch level {
	case "0":
		plugin.LogDebug(text)
	case "1":
		plugin.LogInfo(text)
	case "2":
		plugin.LogWarn(text)
	default:
		plugin.LogError(text)
	}
}

func nullable(s string) []byte {
	if s == "~" {
		return nil
	}
	return []byte(s)
}

func dump(e plugin.Entry, now time.Time) string {
	all, count := []byte{}, 0
	for k, v := range e.AllHeaders() {
		count++
		all = append(append(all, k...), 0)
		if v == nil {
			all = append(all, 0)
		} else {
			all = append(append(all, 1), v...)
		}
		all = append(all, 0)
	}
	t := e.Topic()
	s := "ref=" + strconv.FormatUint(e.Ref(), 10) + " key=" + digest(e.Key()) + " vlen=" + strconv.Itoa(e.ValueLen()) +
		" value=" + digest(e.Value()) + " headers=" + strconv.Itoa(count) + "/" + digest(all) +
		" ts=" + strconv.FormatInt(e.Timestamp().UnixMilli(), 10) + " off=" + strconv.FormatInt(e.Offset(), 10) +
		" part=" + strconv.Itoa(int(e.Partition())) + " tx=" + bit(e.Transactional()) +
		" topic=" + t.Name() + " parts=" + strconv.Itoa(int(t.Partitions())) + " epoch=" + strconv.Itoa(int(t.Epoch()))
	for p := range t.Partitions() {
		s += " " + bit(t.Available(p)) + ":" + strconv.FormatUint(uint64(t.Load(p)), 10)
	}
	return s + " now=" + strconv.FormatInt(now.UnixMilli(), 10)
}

// digest writes bytes down: ~ for null, else their number and FNV-1a hash.
func digest(b []byte) string {
	if b == nil {
		return "~"
	}
	h := fnv.New32a()
	h.Write(b)
	return strconv.Itoa(len(b)) + ":" + hex.EncodeToString(h.Sum(nil))
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func acknowledged(acks *plugin.Acks) error {
	for i := range acks.Len() {
		a := acks.At(i)
		counterA.Inc()
		plugin.LogInfo("ack ", dump(a.Entry, acks.Now()), " err=", strconv.Itoa(int(a.Err())),
			" dropped=", bit(a.Dropped()), " retried=", bit(a.Retried()), " aborted=", bit(a.Aborted()), " earlier=", bit(a.EarlierGeneration()),
			" latency=", strconv.FormatInt(a.Latency().Microseconds(), 10), " reason=", strconv.Itoa(int(a.Reason())),
			" plugin=", strconv.Itoa(a.Plugin()))
	}
	return nil
}

func committed(commits *plugin.Commits) error {
	for i := range commits.Len() {
		c := commits.At(i)
		counterB.Inc()
		plugin.LogInfo("commit ", c.Topic().Name(), "/", strconv.Itoa(int(c.Partition())), "@", strconv.FormatInt(c.Offset(), 10))
	}
	return nil
}
