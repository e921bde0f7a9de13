// Command builtin is the three ready-made plugins as one module. The environment
// variable KLAMM_BUILTIN says which of them an instance is.
package main

import (
	"errors"
	"strconv"
	"syscall"

	"github.com/klamm-io/klamm/plugins/dedup"
	"github.com/klamm-io/klamm/plugins/mask"
	routeby "github.com/klamm-io/klamm/plugins/route-by"
	"github.com/klamm-io/klamm/sdk/plugin"
)

func init() {
	name, _ := syscall.Getenv("KLAMM_BUILTIN")
	switch name {
	case "dedup":
		dedup.Register()
	case "mask":
		mask.Register()
	case "route-by":
		routeby.Register()
	default:
		plugin.OnInit(func(*plugin.Init) error {
			return errors.New("KLAMM_BUILTIN is " + strconv.Quote(name) + `; it must be dedup, mask or route-by`)
		})
	}
}

func main() {}
