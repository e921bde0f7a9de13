// Package everything is a plugin that does what its records say, so that cases
// can reach every corner of the SDK. Each header "do" of a record is one step:
//
//	drop, drop:TEXT, late:TEXT (a reason of its own), fail:TEXT, dead_letter:TEXT,
//	pass, route:N, clear_partition, value:TEXT, null_value, fill:N (a value of N
//	bytes), key:TEXT, null_key, topic:NAME, timestamp:MS, add:KEY=VALUE,
//	add_null:KEY, remove:KEY, remove_at:N, dump (sets the value to all that can be
//	read of the record), count:N, observe, put:KEY=VALUE, get:KEY (sets the value),
//	claim:ID (adds a header with the answer), log:TEXT, mac:SECRET, error:TEXT,
//	panic:TEXT
package everything

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/klamm-io/klamm/sdk/plugin"
)

type everything struct {
	late    plugin.ReasonCode
	count   plugin.CounterMetric
	seen    plugin.CounterMetric
	sizes   plugin.HistogramMetric
	acks    plugin.CounterMetric
	failed  plugin.CounterMetric
	commits plugin.CounterMetric
	fields  *plugin.Setting[[]string]
	ttl     *plugin.Setting[time.Duration]
	init    *plugin.Init
}

var fields = map[string]plugin.Fields{
	"key": plugin.Key, "value": plugin.Value, "headers": plugin.Headers, "timestamp": plugin.Timestamp,
	"topic_facts": plugin.TopicFacts, "load": plugin.Load,
}

// Register declares the plugin to the SDK.
func Register() {
	e := &everything{
		late:    plugin.Reason("late"),
		count:   plugin.Counter("count_total"),
		seen:    plugin.Counter("seen_total"),
		sizes:   plugin.Histogram("sizes"),
		acks:    plugin.Counter("acks_total"),
		failed:  plugin.Counter("failed_total"),
		commits: plugin.Counter("commits_total"),
		fields:  plugin.Strings("fields", "key", "value", "headers", "timestamp", "topic_facts", "load"),
		ttl:     plugin.Duration("ttl", 0),
	}
	plugin.Int("an_int", 7).Check(plugin.Positive)
	plugin.Float("a_float", 0.5)
	plugin.Bool("a_bool", true)
	plugin.Size("a_size", plugin.KiB)
	plugin.String("a_string", "x").Check(plugin.OneOf("x", "yes", "no"))
	plugin.OnInit(e.start)
}

func (e *everything) start(in *plugin.Init) error {
	e.init = in
	var asked plugin.Fields
	for _, name := range e.fields.Get() {
		f, ok := fields[name]
		if !ok {
			return errors.New("no field " + strconv.Quote(name))
		}
		asked |= f
	}
	plugin.OnSend(e.judge, asked)
	plugin.OnConsume(e.judge, asked)
	plugin.Partitioner(e.judge, asked)
	plugin.OnAcknowledgement(e.acknowledged, asked)
	plugin.OnCommit(e.committed)
	return nil
}

func (e *everything) judge(b *plugin.Batch) error {
	for i, r := range b.All() {
		e.seen.Inc()
		for do := range r.Headers("do") {
			verb, arg, _ := strings.Cut(string(do), ":")
			if err := e.step(b, i, r, verb, arg); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *everything) step(b *plugin.Batch, i int, r plugin.Record, verb, arg string) error {
	n, _ := strconv.Atoi(arg)
	key, value, _ := strings.Cut(arg, "=")
	switch verb {
	case "drop":
		r.DropText(plugin.Filtered, arg)
	case "late":
		r.DropText(e.late, arg)
	case "fail":
		r.Fail(arg)
	case "dead_letter":
		r.DeadLetter(arg)
	case "pass":
		r.Pass()
	case "route":
		r.Route(uint32(n))
	case "clear_partition":
		r.ClearPartition()
	case "value":
		r.SetValue([]byte(arg))
	case "null_value":
		r.SetValue(nil)
	case "fill":
		r.SetValue([]byte(strings.Repeat("x", n)))
	case "key":
		r.SetKey([]byte(arg))
	case "null_key":
		r.SetKey(nil)
	case "topic":
		r.SetTopic(arg)
	case "timestamp":
		r.SetTimestamp(time.UnixMilli(int64(n)))
	case "add":
		r.AddHeader(key, []byte(value))
	case "add_null":
		r.AddHeader(arg, nil)
	case "remove":
		r.RemoveHeaders(arg)
	case "remove_at":
		r.RemoveHeader(n)
	case "dump":
		r.SetValue([]byte(e.dump(b, r)))
	default:
		return e.host(b, i, r, verb, arg)
	}
	return nil
}

// host does the steps that reach the host.
func (e *everything) host(b *plugin.Batch, i int, r plugin.Record, verb, arg string) error {
	n, _ := strconv.Atoi(arg)
	key, value, _ := strings.Cut(arg, "=")
	switch verb {
	case "count":
		e.count.Add(int64(n))
	case "observe":
		e.sizes.Observe(float64(r.ValueLen()))
	case "put":
		plugin.StatePut([]byte(key), []byte(value), e.ttl.Get())
	case "get":
		v, ok := plugin.StateGet([]byte(arg))
		r.SetValue([]byte(strconv.FormatBool(ok) + " " + string(v)))
	case "claim":
		r.AddHeader("claim", []byte(strconv.Itoa(int(b.Claim(i, []byte(arg), e.ttl.Get())))))
	case "log":
		plugin.LogWarn("said: ", arg)
	case "mac":
		mac, err := plugin.HMAC(arg, r.Key())
		if err != nil {
			return err
		}
		r.AddHeader("mac", mac[:])
	case "error":
		return errors.New(arg)
	case "panic":
		panic(arg)
	default:
		return errors.New("no step " + strconv.Quote(verb))
	}
	return nil
}

// dump writes down what can be read of a record. Its number is left out of
// batches that are cut, as the index is.
func (e *everything) dump(b *plugin.Batch, r plugin.Record) string {
	s := "key=" + show(r.Key()) + " value=" + show(r.Value()) + " len=" + strconv.Itoa(r.ValueLen()) +
		" partition=" + strconv.Itoa(int(r.Partition())) + " offset=" + strconv.Itoa(int(r.Offset())) +
		" timestamp=" + strconv.FormatInt(r.Timestamp().UnixMilli(), 10) +
		" now=" + strconv.FormatInt(b.Now().UnixMilli(), 10) + " ref=" + strconv.Itoa(int(r.Ref()))
	for k, v := range r.AllHeaders() {
		s += " " + string(k) + ":" + show(v)
	}
	last, ok := r.Header("x")
	s += " last=" + show(last) + strconv.FormatBool(ok)
	t := r.Topic()
	s += " topic=" + t.Name() + " epoch=" + strconv.Itoa(int(t.Epoch()))
	for p := range t.Partitions() {
		s += " " + strconv.FormatBool(t.Available(p)) + strconv.Itoa(int(t.Load(p)))
	}
	in := e.init
	return s + " init=" + in.Plugin + "," + in.Chain + "," + in.ClientID + "," + strings.Join(in.Topics, "+") +
		"," + strconv.Itoa(in.Lane) + "/" + strconv.Itoa(in.Lanes)
}

func show(b []byte) string {
	if b == nil {
		return "null"
	}
	return strconv.Quote(string(b))
}

func (e *everything) acknowledged(a *plugin.Acks) error {
	for i := range a.Len() {
		ack := a.At(i)
		e.acks.Inc()
		if ack.Err() != 0 {
			e.failed.Inc()
		}
		plugin.StatePut([]byte("ack "+show(ack.Key())), []byte(strconv.Itoa(int(ack.Err()))+" "+
			strconv.FormatBool(ack.Dropped())+strconv.FormatBool(ack.Retried())+strconv.FormatBool(ack.Aborted())+
			strconv.FormatBool(ack.EarlierGeneration())+" "+ack.Latency().String()+" "+strconv.Itoa(int(ack.Reason()))+" "+
			ack.Topic().Name()+"/"+strconv.Itoa(int(ack.Partition()))+"@"+strconv.Itoa(int(ack.Offset()))), 0)
	}
	return nil
}

func (e *everything) committed(c *plugin.Commits) error {
	for i := range c.Len() {
		at := c.At(i)
		e.commits.Inc()
		plugin.StatePut([]byte(at.Topic().Name()+"/"+strconv.Itoa(int(at.Partition()))), []byte(strconv.Itoa(int(at.Offset()))), 0)
	}
	return nil
}
