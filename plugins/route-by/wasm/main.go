// Command wasm is route-by as a module of its own:
//
//	klamm plugin build plugins/route-by/wasm
package main

import routeby "github.com/klamm-io/klamm/plugins/route-by"

func init() { routeby.Register() }

func main() {}
