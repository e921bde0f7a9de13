package host

import _ "github.com/klamm-io/klamm/runtime"
