package faultproxy

import (
	"encoding/binary"
	"math"
)

// mutate returns a reply that a hostile broker would send.
func mutate(h *Handle, broker int, frame []byte) []byte {
	switch h.rule.Action {
	case WrongCorrelation:
		id := binary.BigEndian.Uint32(frame[4:])
		binary.BigEndian.PutUint32(frame[4:], id+1+uint32(h.roll(broker, math.MaxInt32-1)))
	case OversizedLength:
		binary.BigEndian.PutUint32(frame, math.MaxInt32)
	case NegativeLength:
		length := int32(-5)
		binary.BigEndian.PutUint32(frame, uint32(length))
	case Garbage:
		for i := 8; i < len(frame); i++ {
			frame[i] = byte(h.roll(broker, 256))
		}
	case Truncate:
		frame = frame[:8+h.roll(broker, len(frame)-8)]
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	}
	return frame
}
