package interceptor

import (
	"sync"
	"time"
)

// logRate is how many lines a second one plugin may write in one lane, where
// the chain does not say.
const logRate = 100

// limiter lets so many lines pass in each second and counts the others. It is
// safe for concurrent use.
type limiter struct {
	now  func() time.Time
	rate int

	mu     sync.Mutex
	second int64
	passed int
	lost   int
}

// newLimiter takes the lines a second; 0 stands for logRate, below it for none.
func newLimiter(rate int) limiter {
	if rate == 0 {
		rate = logRate
	}
	return limiter{now: time.Now, rate: max(rate, 0)}
}

// allow reports whether one more line may pass, and how many were lost in
// seconds that are over and not told of yet.
func (l *limiter) allow() (ok bool, lost int) {
	now := l.now().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now != l.second {
		l.second, l.passed = now, 0
		lost, l.lost = l.lost, 0
	}
	if l.passed >= l.rate {
		l.lost++
		return false, lost
	}
	l.passed++
	return true, lost
}

// drain returns how many lines were lost and not told of yet.
func (l *limiter) drain() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.lost
	l.lost = 0
	return lost
}
