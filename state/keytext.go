package state

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// NewKey returns a key that nobody can guess.
func NewKey() Key {
	var raw [16]byte
	rand.Read(raw[:]) // never returns an error
	return keyOf(raw[:])
}

// Text returns the key as backends store it that keep it as text: 32
// hexadecimal digits.
func (k Key) Text() string {
	raw := binary.LittleEndian.AppendUint64(nil, k[0])
	return hex.EncodeToString(binary.LittleEndian.AppendUint64(raw, k[1]))
}

// ParseKey reads what Text returns.
func ParseKey(text string) (Key, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 16 {
		return Key{}, errors.New("no key of a state: that has 32 hexadecimal digits")
	}
	return keyOf(raw), nil
}

func keyOf(raw []byte) Key {
	return Key{binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])}
}
