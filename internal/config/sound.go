package config

// Sound returns a configuration of those plugins alone that no error is about,
// for whoever asks them what is wrong in their own tables although the file
// cannot be used: mistakes are told all at once. It is nil where there is no
// such plugin, and for problems of a file that was read to its end without an
// error.
func (p *Problems) Sound() *Config { return p.sound }

// sound keeps of c what loading its plugins needs. States are in memory: what
// theirs would be may be wrong.
func (c *Config) sound(problems *Problems) *Config {
	s := Default()
	s.Source, s.Version = c.Source, 1
	s.Plugin, s.State = map[string]Plugin{}, map[string]State{}
	badLimits := problems.within("plugins")
	if !badLimits {
		s.Plugins = c.Plugins
	}
	for name, p := range c.Plugin {
		if problems.within("plugin", name) {
			continue
		}
		if badLimits {
			p = c.withoutShared(name, p)
		}
		s.Plugin[name] = p
		if p.State != "" {
			s.State[p.State] = defaultState()
		}
	}
	if len(s.Plugin) == 0 {
		return nil
	}
	s.ApplyDefaults()
	return &s
}

// within reports whether an error is about the table at path, or in it.
func (p *Problems) within(path ...string) bool {
	for _, q := range p.list {
		if q.Severity == Error && len(q.Path) >= len(path) && joinPath(q.Path[:len(path)]) == joinPath(path) {
			return true
		}
	}
	return false
}
