package broker

import (
	_ "github.com/klamm-io/klamm"
	_ "github.com/twmb/franz-go/pkg/kfake"
)
