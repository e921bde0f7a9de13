package produce

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/klamm-io/klamm"
)

func soon() time.Time { return time.Now().Add(time.Minute) }

func newTestMemory(total int64) *memory { return newMemory(total, func() {}) }

func TestC065_MoreThanThereIs(t *testing.T) {
	m := newTestMemory(1024)
	if err := m.reserve(t.Context(), 1025, soon()); !errors.Is(err, klamm.ErrRecordTooLarge) {
		t.Errorf("reserve(1025) of 1024 = %v, want ErrRecordTooLarge", err)
	}
	if err := m.reserve(t.Context(), 1024, soon()); err != nil {
		t.Errorf("reserve(1024) of 1024 = %v", err)
	}
}

func TestC066_WaiterGetsWhatIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(1024)
		m.reserve(t.Context(), 1024, soon())
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- m.reserve(t.Context(), 512, soon()) }()
		synctest.Wait()
		time.Sleep(time.Second)
		m.release(600)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("the waiter was served after %s, want 1s", d)
		}
		if free := m.free.Load(); free != 88 {
			t.Errorf("%d bytes free, want 88", free)
		}
	})
}

func TestC067_NothingFreedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(10)
		m.reserve(t.Context(), 10, soon())
		start := time.Now()
		err := m.reserve(t.Context(), 1, start.Add(10*time.Second))
		if !errors.Is(err, klamm.ErrBufferFull) || !errors.Is(err, klamm.ErrTimeout) {
			t.Errorf("reserve = %v, want ErrBufferFull", err)
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("it waited %s, want 10s", d)
		}
		if n := m.exhausted.Load(); n != 1 {
			t.Errorf("exhausted = %d, want 1", n)
		}
		if len(m.queue) != 0 || m.waiting.Load() != 0 {
			t.Errorf("%d waiters, counted %d, are left", len(m.queue), m.waiting.Load())
		}
	})
}

func TestC069_CancelledWaitersLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(2)
		m.reserve(t.Context(), 1, soon())
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- m.reserve(ctx, 2, soon()) }()
		}
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("reserve = %v, want context.Canceled", err)
			}
		}
		m.release(1)
		if free := m.free.Load(); free != 2 || len(m.queue) != 0 || m.waiting.Load() != 0 {
			t.Errorf("free %d, queue %d, waiting %d; want 2, 0, 0", free, len(m.queue), m.waiting.Load())
		}
	})
}

// A waiter that leaves must wake the one behind it, whose smaller wish is there.
func TestWaiterBehindACancelledOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(10)
		m.reserve(t.Context(), 8, soon())
		ctx, cancel := context.WithCancel(t.Context())
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- m.reserve(ctx, 9, soon()) }()
		synctest.Wait()
		go func() { small <- m.reserve(t.Context(), 1, soon()) }()
		synctest.Wait()
		select {
		case <-small:
			t.Fatal("the small one overtook the large one")
		default:
		}
		cancel()
		<-large
		if err := <-small; err != nil {
			t.Error(err)
		}
	})
}

func TestC070_ManyThreads(t *testing.T) {
	m := newTestMemory(10 * 1024)
	var wg sync.WaitGroup
	for seed := range uint64(10) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 5000 {
				n := 1 + rng.IntN(1024)
				if rng.IntN(100) == 0 {
					n = 10 * 1024
				}
				if err := m.reserve(context.Background(), n, soon()); err != nil {
					t.Error(err)
					return
				}
				m.release(n)
			}
		})
	}
	wg.Wait()
	if free := m.free.Load(); free != m.total {
		t.Errorf("%d bytes free, want %d", free, m.total)
	}
	if len(m.queue) != 0 || m.waiting.Load() != 0 {
		t.Errorf("%d waiters, counted %d, are left", len(m.queue), m.waiting.Load())
	}
}

func TestC071_Close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMemory(1)
		m.reserve(t.Context(), 1, soon())
		errs := make(chan error, 2)
		for range 2 {
			go func() { errs <- m.reserve(t.Context(), 1, soon()) }()
		}
		synctest.Wait()
		m.close(klamm.ErrClosed)
		for range 2 {
			if err := <-errs; !errors.Is(err, klamm.ErrClosed) {
				t.Errorf("a waiter got %v, want ErrClosed", err)
			}
		}
		m.release(1)
		if free := m.free.Load(); free != 1 {
			t.Errorf("%d bytes free after Close and Release, want 1", free)
		}
		if err := m.reserve(t.Context(), 1, soon()); !errors.Is(err, klamm.ErrClosed) {
			t.Errorf("reserve after close = %v, want ErrClosed", err)
		}
	})
}

func TestReleaseOfTooMuchIsOurBug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	newTestMemory(10).release(1)
}

// TestMemoryModel compares the memory with a model: bytes add up, and those
// that wait are served in the order in which they came.
func TestMemoryModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newTestMemory(100)
		free := int64(100)
		var held []int
		type waiting struct {
			w *waiter
			n int64
		}
		var queue []waiting
		serve := func() {
			for len(queue) > 0 && queue[0].n <= free {
				if err := <-queue[0].w.ready; err != nil {
					t.Fatal(err)
				}
				free -= queue[0].n
				held = append(held, int(queue[0].n))
				queue = queue[1:]
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				n := rapid.IntRange(1, 100).Draw(t, "n")
				if len(queue) == 0 && int64(n) <= free {
					if err := m.reserve(context.Background(), n, soon()); err != nil {
						t.Fatal(err)
					}
					free -= int64(n)
					held = append(held, n)
					return
				}
				w := &waiter{n: int64(n), ready: make(chan error, 1)}
				if err := m.enqueue(w); err != nil {
					t.Fatal(err)
				}
				queue = append(queue, waiting{w, int64(n)})
			},
			"release": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "i")
				free += int64(held[i])
				m.release(held[i])
				held = append(held[:i], held[i+1:]...)
				serve()
			},
			"overdraw": func(t *rapid.T) {
				n := rapid.IntRange(1, 50).Draw(t, "n")
				m.overdraw(n)
				free -= int64(n)
				held = append(held, n)
			},
			"leave": func(t *rapid.T) {
				if len(queue) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(queue)-1).Draw(t, "i")
				m.leave(queue[i].w)
				queue = append(queue[:i], queue[i+1:]...)
				serve()
			},
			"": func(t *rapid.T) {
				if got := m.free.Load(); got != free {
					t.Fatalf("free = %d, want %d", got, free)
				}
				if got := int(m.waiting.Load()); got != len(queue) || len(m.queue) != len(queue) {
					t.Fatalf("waiting = %d, queue %d, want %d", got, len(m.queue), len(queue))
				}
				for _, w := range queue {
					if len(w.w.ready) > 0 {
						t.Fatalf("a waiter for %d was served with %d free", w.n, free)
					}
				}
			},
		})
	})
}
