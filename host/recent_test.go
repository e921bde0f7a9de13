package host

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClockRecentIsATickOldAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		for range 100 {
			age := c.since() - c.recent()
			if age < 0 || age > clockTick {
				t.Fatalf("the reading is %v old, want at most %v", age, clockTick)
			}
			time.Sleep(clockTick / 4)
		}
	})
}

func TestClockRecentAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		c.recent()
		time.Sleep(time.Hour)
		if c.last.Load() != notKept {
			t.Error("the reading is renewed although nobody asks")
		}
		if got, want := c.recent(), c.since(); got != want {
			t.Errorf("the first reading after a pause is %v, want %v", got, want)
		}
		time.Sleep(3 * clockTick)
	})
}

func TestClockRenewGoesForwardOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		c.renew()
		if c.last.Load() != notKept {
			t.Fatal("renew starts what nobody asked for")
		}
		c.recent()
		c.last.Store(int64(time.Hour))
		c.renew()
		if got := c.recent(); got != time.Hour {
			t.Errorf("the reading went back to %v", got)
		}
		time.Sleep(3 * clockTick)
	})
}
