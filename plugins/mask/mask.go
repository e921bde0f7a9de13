// Package mask hides fields of JSON values: it replaces them by null, by a fixed
// text, by a hash, or shows their last characters only. All other bytes of the
// value stay as they are.
package mask

import (
	"errors"

	"github.com/klamm-io/klamm/sdk/plugin"
)

type mask struct {
	fields      *plugin.Setting[[]string]
	mode        *plugin.Setting[string]
	replacement *plugin.Setting[string]
	keep        *plugin.Setting[int64]
	secret      *plugin.Setting[string]
	onMalformed *plugin.Setting[string]
	masked      plugin.CounterMetric
	malformed   plugin.CounterMetric

	paths *plugin.Paths
	out   []byte
	one   []byte // one field's new text
	hash  func(data []byte) ([plugin.MACSize]byte, error)
}

// Register declares the plugin to the SDK.
func Register() {
	m := &mask{
		fields:      plugin.Strings("fields").Required().Check(checkFields),
		mode:        plugin.String("mode", "fixed").Check(plugin.OneOf("null", "fixed", "hash", "partial")),
		replacement: plugin.String("replacement", "***"),
		keep:        plugin.Int("keep", 4).Check(notNegative),
		secret:      plugin.String("secret", ""),
		onMalformed: plugin.String("on_malformed", "fail").
			Check(plugin.OneOf("fail", "pass", "drop", "dead_letter")),
		masked:    plugin.Counter("mask_fields_total"),
		malformed: plugin.Counter("mask_malformed_total"),
	}
	plugin.OnInit(m.init)
}

func notNegative(n int64) error {
	if n < 0 {
		return errors.New("must not be negative")
	}
	return nil
}

func checkFields(fields []string) error {
	_, err := parseFields(fields)
	return err
}

func parseFields(fields []string) (*plugin.Paths, error) {
	if len(fields) == 0 {
		return nil, errors.New("the list is empty")
	}
	paths := make([]plugin.Path, len(fields))
	for i, f := range fields {
		p, err := plugin.ParsePath(f)
		if err != nil {
			return nil, err
		}
		paths[i] = p
	}
	return plugin.NewPaths(paths...)
}

func (m *mask) init(*plugin.Init) (err error) {
	if m.paths, err = parseFields(m.fields.Get()); err != nil {
		return err
	}
	m.hash = func(data []byte) ([plugin.MACSize]byte, error) { return sha256(data), nil }
	if name := m.secret.Get(); name != "" {
		m.hash = func(data []byte) ([plugin.MACSize]byte, error) { return plugin.HMAC(name, data) }
		if _, err := m.hash(nil); err != nil {
			return errors.New(`config key "secret": ` + err.Error())
		}
	}
	plugin.OnSend(m.judge, plugin.Value)
	plugin.OnConsume(m.judge, plugin.Value)
	return nil
}

func (m *mask) judge(b *plugin.Batch) error {
	for i := range b.Len() {
		r := b.At(i)
		if !r.HasValue() {
			continue // a tombstone hides nothing
		}
		doc := r.Value()
		matches, err := m.paths.Scan(doc)
		if err != nil {
			m.notJSON(r, err)
			continue
		}
		if len(matches) == 0 {
			continue
		}
		if err := m.rewrite(doc, matches); err != nil {
			return err
		}
		if string(m.out) != string(doc) {
			r.SetValue(m.out)
		}
	}
	return nil
}

// rewrite copies doc to m.out with every match replaced, also those that a later
// member of the same name supersedes: the next reader may take the first.
func (m *mask) rewrite(doc []byte, matches []plugin.Match) error {
	m.out = m.out[:0]
	done := 0
	for _, match := range matches {
		if match.Start < done {
			continue // inside of a value that is masked as a whole
		}
		m.out = append(m.out, doc[done:match.Start]...)
		if err := m.appendMasked(doc[match.Start:match.End]); err != nil {
			return err
		}
		done = match.End
	}
	m.out = append(m.out, doc[done:]...)
	return nil
}

func (m *mask) notJSON(r plugin.Record, err error) {
	text := "value cannot be masked: " + err.Error()
	switch m.onMalformed.Get() {
	case "fail":
		r.FailFor(plugin.Invalid, text)
	case "drop":
		r.DropText(plugin.Invalid, text)
	case "dead_letter":
		r.DeadLetterFor(plugin.Invalid, text)
	}
	m.malformed.Inc()
}
