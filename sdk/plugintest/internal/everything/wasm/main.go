// Command wasm is everything as a module.
package main

import "github.com/klamm-io/klamm/sdk/plugintest/internal/everything"

func init() { everything.Register() }

func main() {}
