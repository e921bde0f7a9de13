// Package hostile is a corpus of modules made to hurt the host: they trap,
// hang, eat memory, lie about pointers and lengths, answer nonsense, or are no
// modules at all. Each is built by Go code from a table that says what it tries.
// Tests run all of them beside a plugin that must not notice.
//
// It is for tests only; nothing else imports it.
package hostile
