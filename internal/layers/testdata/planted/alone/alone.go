package alone

import _ "github.com/klamm-io/klamm"
