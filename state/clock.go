package state

import "time"

// ClockMS returns the time that a record's claims count from: that of the
// record itself where the state's clock is the record, so that reading a topic
// again gives the same result, else nowMS. A record without a time has nowMS.
func (s *Space) ClockMS(record time.Time, nowMS int64) int64 {
	if !s.recordClock || record.IsZero() {
		return nowMS
	}
	if ms := record.UnixMilli(); ms >= 0 {
		return ms
	}
	return nowMS
}

// lifetime is what a claim keeps of its ttl: milliseconds from its
// confirmation, or the negative of its deadline where the clock is the
// record's, since the time of the confirmation is another clock's. 0 is no
// limit.
func (s *Space) lifetime(ttl time.Duration, nowMS int64) int64 {
	ms := ttlMS(ttl)
	if s.recordClock {
		return -deadline(nowMS, ms)
	}
	return ms
}

// expiry returns when an id ends that is confirmed at nowMS, and the time up to
// which older ids are let go by age.
//
// With the record's clock that is never. Partitions are read at different
// times of theirs, so the time of one record does not tell that the ids of
// another partition are out of its window. They go by count, or when they are
// met again.
func (s *Space) expiry(lifetime, nowMS int64) (expiresMS, trimMS int64) {
	if s.recordClock {
		return -lifetime, 0
	}
	return deadline(nowMS, lifetime), nowMS
}
