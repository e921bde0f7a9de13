package config

// Load reads the configuration file at path. Its error, a *Problems, tells
// every mistake of the file with line, column, cause and mend.
func Load(path string) (*Config, error) {
	return nil, nil
}

// Options are what Parse takes from outside the text. The zero value takes the
// process's environment and the file system.
type Options struct {
	// LookupEnv resolves ${env:NAME}. Default os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// ReadFile resolves ${file:PATH}. Default os.ReadFile.
	ReadFile func(path string) ([]byte, error)
}

// Parse reads a configuration. The Config is nil when Problems holds an error.
func Parse(path string, text []byte, o Options) (*Config, *Problems) { return nil, nil }

// Check reports every problem.
func (c *Config) Check() *Problems { return NewProblems(c.Source) }

func (c *Config) isSet(path ...string) bool { return c.Source.Has(path...) }

func (p *Producer) idempotenceConflicts() []string { return nil }
