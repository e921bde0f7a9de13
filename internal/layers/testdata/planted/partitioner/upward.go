package partitioner

import _ "github.com/klamm-io/klamm/host"
