package partitioner

import (
	"errors"
	"fmt"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/runtime"
	"github.com/klamm-io/klamm/sdk/abi"
)

// split decides about records of which a call faulted with err: the culprit gets
// the policy, the others are judged again.
func (w *WASM) split(at, end int, err error) {
	if end-at == 1 {
		w.policy(at, runtime.FaultKind(err), err)
		return
	}
	if i, ok := runtime.Culprit(err); ok && at+i < end {
		w.again(at, at+i)
		w.policy(at+i, runtime.FaultKind(err), err)
		w.again(at+i+1, end)
		return
	}
	mid := at + (end-at)/2
	if w.again(at, mid) && end-mid > 1 {
		// The culprit is in the second half, so that trying it whole is in vain.
		mid2 := mid + (end-mid)/2
		w.again(mid, mid2)
		mid = mid2
	}
	w.again(mid, end)
}

// again judges records once more. clean: none of them made the plugin fault.
func (w *WASM) again(at, end int) (clean bool) {
	clean = true
	for at < end {
		if time.Now().After(w.run.until) {
			w.unjudged(at, end)
			return false
		}
		n, err := w.call(at, end, true)
		if err != nil {
			clean = false
			if runtime.IsFault(err) {
				w.split(at, at+n, err)
			} else {
				w.withoutCall(at, at+n, err)
			}
		}
		at += n
	}
	return clean
}

// unjudged applies the policy to records that the search had no time for.
func (w *WASM) unjudged(at, end int) {
	err := fmt.Errorf("not judged: the search for the record that makes the plugin fail took longer than twice its timeout of %s", w.timeout)
	for i := at; i < end; i++ {
		w.policy(i, "unjudged", err)
	}
}

// withoutCall applies the policy to records that the plugin was not asked about.
func (w *WASM) withoutCall(at, end int, err error) {
	kind := "host"
	if errors.Is(err, runtime.ErrBreakerOpen) {
		kind, err = "breaker_open", klamm.ErrBreakerOpen
	}
	for i := at; i < end; i++ {
		w.policy(i, kind, err)
	}
}

// policy applies OnError to record i.
func (w *WASM) policy(i int, kind string, err error) {
	w.metrics.Fault(w.name, abi.Partition.String(), kind)
	if w.fail {
		w.stats.Refused++
		w.refuse(i, err)
		return
	}
	w.stats.Defaulted++
	w.run.out[i] = UseDefault
}
