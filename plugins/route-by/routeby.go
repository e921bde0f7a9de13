// Package routeby keeps each tenant on its share of the partitions.
//
// A tenant is what a header, a JSON field or the key says. Its share starts at a
// home partition that the tenant's hash gives, and is as wide as configured; the
// key's hash chooses within the share. The placement is a function of tenant,
// key and number of partitions alone, unless hot shares are spread by load.
package routeby

import (
	"errors"

	"github.com/klamm-io/klamm/plugins/internal/source"
	"github.com/klamm-io/klamm/sdk/plugin"
)

type routeBy struct {
	by        *plugin.Setting[string]
	spread    *plugin.Setting[int64]
	onMissing *plugin.Setting[string]
	hot       *plugin.Setting[int64]
	moved     plugin.CounterMetric
	missing   plugin.CounterMetric

	source *source.Set
	chosen []int32 // by routeKeys
}

// Register declares the plugin to the SDK.
func Register() {
	p := &routeBy{
		by: plugin.String("by", "").Required().
			Check(func(s string) error { return source.Check([]string{s}) }),
		spread:    plugin.Int("spread", 1).Check(plugin.Positive),
		onMissing: plugin.String("on_missing", "default").Check(plugin.OneOf("default", "fail")),
		hot:       plugin.Size("hot", 0),
		moved:     plugin.Counter("route_by_moved_total"),
		missing:   plugin.Counter("route_by_missing_total"),
	}
	plugin.OnInit(p.init)
}

func (p *routeBy) init(*plugin.Init) (err error) {
	if p.source, err = source.Parse([]string{p.by.Get()}); err != nil {
		return err
	}
	fields := p.source.Fields() | plugin.Key | plugin.TopicFacts
	if p.hot.Get() > 0 {
		fields |= plugin.Load
	}
	if p.spread.Get() > 1<<20 {
		return errors.New(`config key "spread": more than any topic has partitions`)
	}
	route := p.route
	if p.source.KeyOnly() && p.spread.Get() == 1 && p.hot.Get() == 0 {
		route = p.routeKeys
	}
	plugin.Partitioner(route, fields)
	return nil
}

// routeKeys is route for tenants that are the key and have one partition each,
// whatever its load.
func (p *routeBy) routeKeys(b *plugin.Batch) error {
	topic, one := b.OneTopic()
	n := topic.Partitions()
	if !one || n == 0 {
		return p.route(b)
	}
	p.chosen = p.chosen[:0]
	for i, hash := range b.KeyHashes() {
		if hash == plugin.NoKey {
			p.without(b.At(i), plugin.Missing, "no tenant: key is missing or null")
			p.chosen = append(p.chosen, -1)
			continue
		}
		p.chosen = append(p.chosen, int32(hash%n))
	}
	b.RouteAll(p.chosen)
	return nil
}

func (p *routeBy) route(b *plugin.Batch) error {
	for i := range b.Len() {
		r := b.At(i)
		if err := p.source.Open(r.Entry); err != nil {
			p.without(r, plugin.Invalid, "no tenant: the value is "+err.Error())
			continue
		}
		tenant, _, ok := p.source.Get(r.Entry, 0)
		if !ok {
			p.without(r, plugin.Missing, "no tenant: "+p.by.Get()+" is missing or null")
			continue
		}
		if n := r.Topic().Partitions(); n > 0 {
			r.Route(p.place(r, tenant, n))
		}
	}
	return nil
}

// place chooses one of the n partitions.
func (p *routeBy) place(r plugin.Record, tenant []byte, n uint32) uint32 {
	share := min(uint32(p.spread.Get()), n)
	home := plugin.Murmur2(tenant) % n
	chosen := home
	if share > 1 {
		chosen = (home + slot(r)%share) % n
	}
	if limit := p.hot.Get(); limit > 0 && int64(r.Topic().Load(chosen)) > limit {
		return p.cooler(r, chosen, home, share, n)
	}
	return chosen
}

// slot spreads a tenant's records over its share: by key, and records without a
// key by the host's number for the record, which stays the same when a batch is
// cut or judged again.
func slot(r plugin.Record) uint32 {
	if r.HasKey() {
		return plugin.Murmur2(r.Key())
	}
	return uint32(r.Ref() * 0x9e3779b97f4a7c15 >> 33)
}

// cooler returns the partition for a record whose own one, chosen, is hot: one
// of the share that is available and at most half as loaded. Records spread over
// those by their number, so that they do not all rush to the coolest.
func (p *routeBy) cooler(r plugin.Record, chosen, home, share, n uint32) uint32 {
	t := r.Topic()
	half := t.Load(chosen) / 2
	cool := func(i uint32) bool {
		part := (home + i) % n
		return t.Available(part) && t.Load(part) <= half
	}
	count := uint32(0)
	for i := range share {
		if cool(i) {
			count++
		}
	}
	if count == 0 {
		return chosen
	}
	nth := uint32(r.Ref()*0x9e3779b97f4a7c15>>33) % count
	for i := range share {
		if !cool(i) {
			continue
		}
		if nth == 0 {
			p.moved.Inc()
			return (home + i) % n
		}
		nth--
	}
	return chosen
}

func (p *routeBy) without(r plugin.Record, why plugin.ReasonCode, text string) {
	if p.onMissing.Get() == "fail" {
		r.FailFor(why, text)
	}
	p.missing.Inc()
}
