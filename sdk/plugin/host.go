package plugin

import (
	"errors"
	"time"
)

// Now returns the host's clock. Prefer Batch.Now: it is the same for all records
// of a call, and for a call that is repeated.
func Now() time.Time { return time.Unix(0, importNowNS()) }

// Random fills p with random bytes that nobody can guess.
func Random(p []byte) {
	if len(p) > 0 {
		importRandom(p)
	}
}

// MACSize is the length of what HMAC returns.
const MACSize = 32

var errSecret = errors.New("the plugin's configuration names no such secret")

// HMAC returns the HMAC-SHA256 of data under a secret that the plugin's
// configuration lists by name. The secret stays in the host.
func HMAC(secret string, data []byte) (mac [MACSize]byte, err error) {
	if importHMAC([]byte(secret), data, &mac) < 0 {
		return mac, errSecret
	}
	return mac, nil
}
