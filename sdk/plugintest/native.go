package plugintest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/klamm-io/klamm/sdk/abi"
	"github.com/klamm-io/klamm/sdk/plugin"
)

// player runs a case from a fresh instance on, in batches that end at the given
// indexes.
type player interface {
	play(ctx context.Context, c *Case, s shape, ends []int) (*Outcome, error)
}

// native plays the host for a plugin that is compiled into this program.
type native struct{ register func() }

// nativeLock guards the one native instance of the process.
var nativeLock sync.Mutex

func (n *native) play(_ context.Context, c *Case, s shape, ends []int) (*Outcome, error) {
	nativeLock.Lock()
	defer nativeLock.Unlock()
	config, err := c.configJSON()
	if err != nil {
		return nil, err
	}
	h := newHost(c)
	init := plugin.NativeStart(nativeHost{h}, n.register, encodeInit(config))
	if code := init.Err(); code != 0 {
		return h.outcome(nil), fmt.Errorf("klamm_init: error code %d: %s", code, strings.Join(h.logs, "; "))
	}
	if !init.Hooks().Has(c.Hook) {
		return nil, fmt.Errorf("the plugin has no %s", c.Hook)
	}
	defer plugin.NativeClose()
	var results []Result
	for _, end := range ends {
		for h.last = end; h.first < end; {
			part, done, err := n.call(c, h, init.Fields(c.Hook), s, end)
			if err != nil {
				return h.outcome(results), err
			}
			results = append(results, part...)
			h.first += done
		}
	}
	return h.outcome(results), nil
}

// call runs one block, with a larger modification area as long as not even the
// first record finds room.
func (n *native) call(c *Case, h *host, fields abi.Fields, s shape, end int) (results []Result, done int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the plugin panicked: %v", p)
		}
	}()
	for {
		block := encode(c, c.Hook, fields, s, h.first, end)
		answer := plugin.NativeCall(c.Hook, block)
		if code := answer.Err(); code != 0 {
			return nil, 0, fmt.Errorf("error code %d: %s", code, strings.Join(h.logs, "; "))
		}
		done = end - h.first
		if answer.Flags()&abi.CallPartial != 0 {
			done = int(le.Uint32(block[abi.BatchDone:]))
		}
		h.settle(done)
		if done == 0 {
			if s.modCap *= 2; s.modCap > 4<<20 {
				return nil, 0, errors.New("edit too large")
			}
			continue
		}
		if c.Hook == abi.OnAcknowledgement || c.Hook == abi.OnCommit {
			return nil, done, nil
		}
		results, err = h.results(block, done, int(answer.ModUsed()))
		return results, done, err
	}
}

func (h *host) results(block []byte, done, used int) (results []Result, err error) {
	for i := range done {
		v, err := decode(block, h.c.Hook, i, used)
		if err != nil {
			return nil, err
		}
		r, err := result(&h.c.Records[h.first+i], v, func(code uint16) string { return h.reasons[code] })
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// nativeHost lends a host to the SDK's imports.
type nativeHost struct{ *host }

var _ plugin.NativeHost = nativeHost{}

func (n nativeHost) DefineMetric(kind int32, name string) int32 {
	id, _ := n.host.DefineMetric(kind, name)
	return id
}

func (n nativeHost) DefineReason(code uint16, name string) { n.reasons[code] = name }

func (n nativeHost) Claim(index int, id []byte, ttlMS int64) int32 {
	if n.c.Hook == abi.Partition {
		return abi.ClaimRefused
	}
	return n.host.Claim(index, id, ttlMS)
}

func (n nativeHost) ClaimBatch(mask *[abi.BatchMax / 64]uint64, ttlMS int64) int32 {
	if n.c.Hook == abi.Partition {
		return abi.ClaimRefused
	}
	fresh := int32(0)
	for i := range n.last - n.first {
		key := n.c.Records[n.first+i].Key
		if key != nil && n.host.Claim(i, key, ttlMS) == abi.ClaimNew {
			mask[i/64] |= 1 << (i % 64)
			fresh++
		}
	}
	return fresh
}

func (n nativeHost) StateGet(key, dst []byte) int32 {
	v, ok := n.host.StateGet(key)
	switch {
	case !ok:
		return abi.StateNone
	case len(v) > len(dst):
		return abi.StateTooSmall
	}
	return int32(copy(dst, v))
}

func (n nativeHost) StatePut(key, value []byte, ttlMS int64) int32 {
	if n.host.StatePut(key, value, ttlMS) != nil {
		return abi.StateRefused
	}
	return 0
}

func (n nativeHost) NowNS() int64 { return n.c.now().UnixNano() }

// Random is the same in every run.
func (n nativeHost) Random(p []byte) {
	for i := range p {
		p[i] = byte(i)
	}
}

func (n nativeHost) HMAC(secret string, data []byte, out *[plugin.MACSize]byte) int32 {
	mac, ok := n.mac(secret, data)
	if !ok {
		return -1
	}
	return int32(copy(out[:], mac))
}

func (n nativeHost) Value(index int, dst []byte) int32 {
	v := n.host.Value(index)
	if v == nil {
		return -1
	}
	if len(v) <= len(dst) {
		copy(dst, v)
	}
	return int32(len(v))
}

func (n nativeHost) Headers(index int, dst []byte) int32 {
	table := headerTable(n.c.Records[n.first+index].Headers, 0)
	if len(table) <= len(dst) {
		copy(dst, table)
	}
	return int32(len(table))
}
