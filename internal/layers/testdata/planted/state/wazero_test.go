package state

import _ "github.com/tetratelabs/wazero"
