package state

import (
	"maps"
	"slices"
	"unsafe"
)

var (
	_ Inspector = (*memory)(nil)
	_ Inspector = (*file)(nil)
)

func (m *memory) Plugins() []string {
	var names []string
	for name, b := range m.buckets {
		if b.usage.Entries > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (m *memory) Topics(plugin string) []string {
	if b := m.buckets[plugin]; b != nil {
		return slices.Sorted(maps.Keys(b.origins))
	}
	return nil
}

func (m *memory) Footprint() int64 {
	bytes := int64(m.made) * int64(unsafe.Sizeof(chunk{}))
	for i := range m.ids.parts {
		bytes += int64(len(m.ids.parts[i].lines)) * int64(unsafe.Sizeof(line{}))
	}
	return bytes
}

func (m *memory) Lookup(plugin string, id ID) (Remembered, bool) {
	slot := m.find(&id)
	if slot == 0 {
		return Remembered{}, false
	}
	return m.shown(m.at(slot)), true
}

func (m *memory) shown(e *entry) Remembered {
	o := &m.origins[e.origin]
	return Remembered{
		Plugin: o.bucket.plugin, ID: e.id, ExpiresMS: e.expiresMS,
		At: Position{Topic: o.topic, Partition: e.partition, Offset: e.offset},
	}
}

func (m *memory) Forget(_ string, id ID) bool {
	slot := m.find(&id)
	if slot != 0 {
		m.remove(slot)
	}
	return slot != 0
}

func (m *memory) Browse() Browser { return &browser{m.walk()} }

// browser copies what a walk meets.
type browser struct{ w *walk }

func (b *browser) Next(n int, out []Remembered) []Remembered {
	for range n {
		e := b.w.step()
		if e == nil {
			break
		}
		out = append(out, b.w.m.shown(e))
	}
	return out
}

func (b *browser) End() { b.w.end() }

func (f *file) Plugins() []string { return locked(f, (*memory).Plugins) }

func (f *file) Footprint() int64 { return locked(f, (*memory).Footprint) }

func (f *file) Topics(plugin string) []string {
	return locked(f, func(m *memory) []string { return m.Topics(plugin) })
}

func (f *file) Lookup(plugin string, id ID) (r Remembered, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.m.Lookup(plugin, id)
}

// Forget tells the file too, behind what was remembered before.
func (f *file) Forget(plugin string, id ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.m.Forget(plugin, id) {
		return false
	}
	if !f.lost {
		n := len(f.pending)
		f.pending = f.pending.forget(id)
		f.note(n)
	}
	return true
}

func (f *file) Browse() Browser {
	return locked(f, func(m *memory) Browser { return &fileBrowser{f, m.Browse()} })
}

// fileBrowser keeps the file's writer, which may be copying memory, out.
type fileBrowser struct {
	f *file
	b Browser
}

func (b *fileBrowser) Next(n int, out []Remembered) []Remembered {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	return b.b.Next(n, out)
}

func (b *fileBrowser) End() {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.b.End()
}

func locked[T any](f *file, get func(m *memory) T) T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return get(f.m)
}
