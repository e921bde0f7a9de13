package config

// Source is a configuration file's text and the place of each of its keys.
type Source struct {
	Path string
	Text []byte
}
