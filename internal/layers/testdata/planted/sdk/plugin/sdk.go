package plugin

import _ "github.com/BurntSushi/toml"
