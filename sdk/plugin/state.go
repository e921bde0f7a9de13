package plugin

import (
	"errors"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

var errRefused = errors.New(`the host refused a claim or a put: set state = "NAME" in this plugin's table, or the state is full`)

// put is a StatePut that waits for the end of the call.
type put struct {
	at         int32
	key, value []byte
	ttlMS      int64
}

var (
	puts  []put
	value []byte // StateGet's buffer
)

// StateGet returns what was put under key, from the state that the plugin's
// configuration names. The value is valid until the next StateGet.
func StateGet(key []byte) (v []byte, ok bool) {
	for i := len(puts) - 1; i >= 0; i-- {
		if string(puts[i].key) == string(key) {
			return puts[i].value, true
		}
	}
	if value == nil {
		value = make([]byte, 256)
	}
	for {
		n := importStateGet(key, value)
		switch {
		case n >= 0:
			return value[:n:n], true
		case n == abi.StateTooSmall:
			value = make([]byte, 4*len(value))
		default:
			return nil, false
		}
	}
}

// StatePut remembers value under key for ttl; zero or less keeps it until the
// state is full. Both are copied. A put made after At(i) is one of record i and
// takes place at the end of the call, when the verdict about record i counts;
// StateGet sees it at once. A put that the host refuses fails the call.
func StatePut(key, v []byte, ttl time.Duration) {
	if !putting {
		putting = true
		atFlush = append(atFlush, flushPuts)
	}
	p := put{at: recordNow(), ttlMS: ttl.Milliseconds()}
	p.key = append([]byte{}, key...)
	p.value = append([]byte{}, v...)
	puts = append(puts, p)
}

var putting bool

func flushPuts(done int) bool {
	ok := true
	for _, p := range puts {
		if done >= 0 && int(p.at) < done {
			ok = importStatePut(p.key, p.value, p.ttlMS) >= 0 && ok
		}
	}
	clear(puts)
	puts = puts[:0]
	return ok
}
