// Command wasm is mask as a module of its own:
//
//	klamm plugin build plugins/mask/wasm
package main

import "github.com/klamm-io/klamm/plugins/mask"

func init() { mask.Register() }

func main() {}
