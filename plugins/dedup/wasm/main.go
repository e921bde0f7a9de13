// Command wasm is dedup as a module of its own:
//
//	klamm plugin build plugins/dedup/wasm
package main

import "github.com/klamm-io/klamm/plugins/dedup"

func init() { dedup.Register() }

func main() {}
