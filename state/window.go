package state

// Window is a part of a state in memory whose owner keeps the ids elsewhere too:
// it is told of each one that goes, and can put and take out any.
//
// It is used by one goroutine at a time.
type Window struct{ m *memory }

// NewWindow returns an empty Window of at most maxEntries ids. gone is told of
// each id that goes by age or by count; it must not use the Window.
func NewWindow(maxEntries int, gone func(ID)) *Window {
	m := newMemory(Key{}, maxEntries, 0)
	m.gone = gone
	return &Window{m}
}

// Bucket returns the plugin's part. It keeps no values.
func (w *Window) Bucket(plugin string) Bucket { return w.m.Bucket(plugin) }

// Put makes id the newest of the plugin's, whether it is there or not.
func (w *Window) Put(plugin string, id ID, at Position, expiresMS, nowMS int64) error {
	w.Forget(id)
	return w.m.Bucket(plugin).Remember(id, at, expiresMS, nowMS)
}

// Forget takes id out. It is not counted as gone.
func (w *Window) Forget(id ID) {
	if slot := w.m.find(&id); slot != 0 {
		w.m.remove(slot)
	}
}

// Shown is the ids, for people.
func (w *Window) Shown() Inspector { return w.m }

// Has reports whether id is there, whatever its age.
func (w *Window) Has(id ID) bool { return w.m.find(&id) != 0 }

// Len is how many ids are there.
func (w *Window) Len() int { return w.m.count }

// Recount has the buckets count what goes from zero.
func (w *Window) Recount() {
	for _, b := range w.m.buckets {
		b.usage.Evictions, b.usage.Expired = 0, 0
	}
}
