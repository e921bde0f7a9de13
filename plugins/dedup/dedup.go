// Package dedup drops records whose id has been seen within a window of time.
//
// It claims each id in the host's state. A claim is provisional until the fate
// of its record is known, so that a record which fails to be sent does not turn
// its own retry into a duplicate.
package dedup

import (
	"errors"
	"time"

	"github.com/klamm-io/klamm/plugins/internal/source"
	"github.com/klamm-io/klamm/sdk/plugin"
)

type dedup struct {
	id        *plugin.Setting[[]string]
	window    *plugin.Setting[time.Duration]
	onMissing *plugin.Setting[string]
	dropped   plugin.CounterMetric
	missing   plugin.CounterMetric

	sources *source.Set
	buf     []byte // the id that is being put together
}

// Register declares the plugin to the SDK.
func Register() {
	d := &dedup{
		id:     plugin.Strings("id", "key").Check(source.Check),
		window: plugin.Duration("window", 10*plugin.Minute).Check(notNegative),
		onMissing: plugin.String("on_missing", "fail").
			Check(plugin.OneOf("fail", "pass", "dead_letter", "drop")),
		dropped: plugin.Counter("dedup_dropped_total"),
		missing: plugin.Counter("dedup_missing_total"),
	}
	plugin.OnInit(d.init)
}

func notNegative(d time.Duration) error {
	if d < 0 {
		return errors.New(`must not be negative; "0s" keeps ids until the state is full`)
	}
	return nil
}

func (d *dedup) init(*plugin.Init) (err error) {
	if d.sources, err = source.Parse(d.id.Get()); err != nil {
		return err
	}
	judge := d.judge
	if d.sources.KeyOnly() {
		judge = d.judgeKeys
	}
	plugin.OnSend(judge, d.sources.Fields())
	plugin.OnConsume(judge, d.sources.Fields())
	return nil
}

// judgeKeys is judge for ids that are the key alone: the whole batch takes one
// call of the host.
func (d *dedup) judgeKeys(b *plugin.Batch) error {
	fresh := b.ClaimKeys(d.window.Get())
	for i := fresh.Absent(0); i < b.Len(); i = fresh.Absent(i + 1) {
		if r := b.At(i); r.HasKey() {
			d.drop(r)
		} else {
			d.withoutID(r, plugin.Missing, "no id: the key is null")
		}
	}
	return nil
}

func (d *dedup) judge(b *plugin.Batch) error {
	for i := range b.Len() {
		r := b.At(i)
		if err := d.sources.Open(r.Entry); err != nil {
			d.withoutID(r, plugin.Invalid, "no id: the value is "+err.Error())
			continue
		}
		id, absent := d.idOf(r)
		switch {
		case absent != "":
			d.withoutID(r, plugin.Missing, "no id: "+absent+" is missing or null")
		case !b.Claim(i, id, d.window.Get()).Fresh():
			d.drop(r)
		}
	}
	return nil
}

// idOf puts the id together, valid until the next call, or names the source that
// is absent. With several sources each part is preceded by its length, so that
// "a","bc" and "ab","c" are two ids. A zero byte keeps the number 1 and the
// string "1" apart.
func (d *dedup) idOf(r plugin.Record) (id []byte, absent string) {
	d.buf = d.buf[:0]
	for i := range d.sources.Len() {
		v, text, ok := d.sources.Get(r.Entry, i)
		if !ok {
			return nil, d.sources.Name(i)
		}
		if text && d.sources.Len() == 1 {
			return v, ""
		}
		if d.sources.Len() > 1 {
			n := len(v)
			d.buf = append(d.buf, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		}
		if !text {
			d.buf = append(d.buf, 0)
		}
		d.buf = append(d.buf, v...)
	}
	return d.buf, ""
}

func (d *dedup) drop(r plugin.Record) {
	r.Drop(plugin.Duplicate)
	d.dropped.Inc()
}

func (d *dedup) withoutID(r plugin.Record, why plugin.ReasonCode, text string) {
	switch d.onMissing.Get() {
	case "fail":
		r.FailFor(why, text)
	case "dead_letter":
		r.DeadLetterFor(why, text)
	case "drop":
		r.DropText(why, text)
	}
	d.missing.Inc()
}
