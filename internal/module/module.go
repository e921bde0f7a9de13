// Package module turns what a [plugin.NAME] calls its module into bytes: a file,
// a folder of source that is built on demand, or a plugin that Klamm ships.
package module
