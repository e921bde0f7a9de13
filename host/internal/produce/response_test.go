package produce

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
)

// sentBatches are what the responses of these tests answer.
func sentBatches() []*batch {
	a, b := &topic{name: "a"}, &topic{name: "b", index: 1}
	var all []*batch
	for i, t := range []*topic{a, a, b} {
		all = append(all, &batch{part: &partition{topic: t, id: int32(i)}})
	}
	return all
}

func asRequest(version int16, sent []*batch) *fakeRequest {
	r := &fakeRequest{version: version, correlation: 9, acks: -1}
	for _, b := range sent {
		r.batches = append(r.batches, &modelBatch{topic: b.part.topic.name, partition: b.part.id})
	}
	return r
}

func TestResponseOfEveryVersion(t *testing.T) {
	sent := sentBatches()
	answers := []fakeAnswer{
		{offset: 100, logAppend: -1, logStart: 7, leader: -1, leaderEpoch: -1},
		{code: klamm.CodeNotLeaderForPartition, offset: -1, logAppend: -1, logStart: -1, leader: 4, leaderEpoch: 12},
		{code: klamm.CodeInvalidRecord, offset: -1, logAppend: 55, logStart: -1, leader: -1, leaderEpoch: -1, message: "no", records: []recordError{{0, "first"}, {3, "fourth"}}},
	}
	for version := int16(minProduceVersion); version <= maxProduceVersion; version++ {
		var r response
		frame := encodeAnswer(asRequest(version, sent), answers, 1500)
		if err := r.decode(version, frame[8:], sent); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if r.throttle != 1500*time.Millisecond {
			t.Errorf("version %d: throttle %s", version, r.throttle)
		}
		for i, want := range answers {
			got := r.answers[i]
			if version < 5 {
				want.logStart = -1
			}
			if version < 8 {
				want.message, want.records = "", nil
			}
			if version < 9 { // kmsg writes the tag wherever there are tags
				want.leader, want.leaderEpoch = -1, -1
			}
			if got.code != want.code || got.baseOffset != want.offset || got.logAppend != want.logAppend || got.logStart != want.logStart ||
				got.leader != want.leader || got.leaderEpoch != want.leaderEpoch || got.message != want.message || fmt.Sprint(got.recordErrors) != fmt.Sprint(want.records) {
				t.Errorf("version %d batch %d: got %+v, want %+v", version, i, got, want)
			}
		}
	}
}

func TestBrokenResponses(t *testing.T) {
	sent := sentBatches()
	good := func(version int16, change func(*fakeRequest)) []byte {
		r := asRequest(version, sent)
		change(r)
		return encodeAnswer(r, make([]fakeAnswer, len(r.batches)), 0)[8:]
	}
	whole := good(11, func(*fakeRequest) {})
	tests := []struct {
		name string
		body []byte
		want string
	}{
		{"nothing", nil, "ends too early"},
		{"cut", whole[:len(whole)-3], "ends too early"},
		{"longer", append(bytes.Clone(whole), 0), "goes on for 1 bytes"},
		{"one partition missing", good(11, func(r *fakeRequest) { r.batches = r.batches[:2] }), `does not answer topic "b" partition 2`},
		{"one twice", good(11, func(r *fakeRequest) { r.batches = append(r.batches, r.batches[1]) }), `answers topic "a" partition 1 twice`},
		{"another partition", good(11, func(r *fakeRequest) { r.batches[0] = &modelBatch{topic: "a", partition: 8} }), "was not asked"},
		{"another topic", good(7, func(r *fakeRequest) { r.batches[0] = &modelBatch{topic: "c"} }), "was not asked"},
		{"2^31-1 topics", []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f}, "ends too early"},
		{"endless varint", bytes.Repeat([]byte{0xff}, 30), "ends too early"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			version := int16(11)
			if tt.name == "another topic" {
				version = 7
			}
			var r response
			err := r.decode(version, tt.body, sent)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("decode = %v, want it to say %q", err, tt.want)
			}
		})
	}
	old := []struct {
		name string
		body []byte
		want string
	}{
		{"negative array", []byte{0xff, 0xff, 0xff, 0xfe}, "an array has length -2"},
		{"negative string", []byte{0, 0, 0, 1, 0x80, 0, 0, 0}, "a string has length -32768"},
		{"huge array", []byte{0x7f, 0xff, 0xff, 0xff}, "ends too early"},
	}
	for _, tt := range old {
		t.Run(tt.name, func(t *testing.T) {
			var r response
			if err := r.decode(7, tt.body, sent); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("decode = %v, want it to say %q", err, tt.want)
			}
		})
	}
}

// FuzzResponse: no body panics or takes more memory than in proportion to its
// length, and one that we take is one that kmsg takes, with the same content.
func FuzzResponse(f *testing.F) {
	sent := sentBatches()
	for _, version := range []int16{3, 7, 9, 11} {
		answers := []fakeAnswer{{offset: 1}, {code: 6, leader: 4, leaderEpoch: 12}, {code: 87, message: "no", records: []recordError{{1, "x"}}}}
		f.Add(uint8(version), encodeAnswer(asRequest(version, sent), answers, 5)[8:])
	}
	f.Fuzz(func(t *testing.T, version uint8, body []byte) {
		v := int16(minProduceVersion + version%(maxProduceVersion-minProduceVersion+1))
		var before, after goruntime.MemStats
		if len(body) > 1<<10 {
			goruntime.ReadMemStats(&before)
		}
		var r response
		err := r.decode(v, body, sent)
		if len(body) > 1<<10 {
			goruntime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 64*uint64(len(body))+1<<20 {
				t.Errorf("%d bytes taken for a body of %d", took, len(body))
			}
		}
		if err != nil || v >= firstFlexible {
			return // kmsg counts to 2^32 for tags that are not there
		}
		k := kmsg.NewPtrProduceResponse()
		k.Version = v
		if err := k.ReadFrom(body); err != nil {
			t.Fatalf("we take what kmsg refuses: %v", err)
		}
		for _, topic := range k.Topics {
			for _, p := range topic.Partitions {
				for i, b := range sent {
					if b.part.topic.name != topic.Topic || b.part.id != p.Partition {
						continue
					}
					if a := r.answers[i]; int16(a.code) != p.ErrorCode || a.baseOffset != p.BaseOffset || a.logAppend != p.LogAppendTime || len(a.recordErrors) != len(p.ErrorRecords) {
						t.Errorf("got %+v, kmsg reads %+v", a, p)
					}
				}
			}
		}
	})
}

func TestFramesOfHostileLength(t *testing.T) {
	for _, size := range []int32{-1, -1 << 31, 0, 3, maxResponse + 1, 1<<31 - 1} {
		head := binary.BigEndian.AppendUint32(nil, uint32(size))
		if _, err := readFrame(bufio.NewReader(bytes.NewReader(head)), nil); err == nil || !strings.Contains(err.Error(), "claims") {
			t.Errorf("length %d: %v", size, err)
		}
	}
	// A claim costs nothing as long as no bytes follow it.
	head := binary.BigEndian.AppendUint32(nil, maxResponse)
	buf, err := readFrame(bufio.NewReader(bytes.NewReader(append(head, 1, 2, 3))), nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || cap(buf) > 64<<10 {
		t.Errorf("readFrame = %v with %d bytes taken", err, cap(buf))
	}
}

// TestA28_HostileBroker: whatever a broker sends, the connection ends and the
// batch is retried on the next, which is honest.
func TestA28_HostileBroker(t *testing.T) {
	tests := []struct {
		name  string
		reply func(r *fakeRequest) []byte
	}{
		{"wrong correlation id", func(r *fakeRequest) []byte { r.correlation++; return encodeAnswer(r, make([]fakeAnswer, 1), 0) }},
		{"negative length", func(*fakeRequest) []byte { return []byte{0xff, 0xff, 0xff, 0xff} }},
		{"oversized length", func(*fakeRequest) []byte { return []byte{0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4} }},
		{"too short for an id", func(*fakeRequest) []byte { return []byte{0, 0, 0, 3, 1, 2, 3} }},
		{"truncated arrays", func(r *fakeRequest) []byte {
			b := encodeAnswer(r, make([]fakeAnswer, 1), 0)[:20]
			binary.BigEndian.PutUint32(b, 16)
			return b
		}},
		{"garbage", func(*fakeRequest) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }},
		{"two answers", func(r *fakeRequest) []byte {
			b := encodeAnswer(r, []fakeAnswer{{offset: 0, leader: -1, logAppend: -1}}, 0)
			return append(b, b...)
		}},
		{"nothing of ours", func(r *fakeRequest) []byte { r.batches = nil; return encodeAnswer(r, nil, 0) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNetwork(t, 1)
				n.serve = func(c *fakeConn) {
					for {
						r, err := c.read()
						if err != nil {
							return
						}
						a := c.apply(r.batches[0])
						if n.dials == 1 {
							c.Write(tt.reply(r))
							io.Copy(io.Discard, c) // until the client hangs up
							return
						}
						c.Write(encodeAnswer(r, []fakeAnswer{a}, 0))
					}
				}
				h := newHistory()
				p, err := newPipeline(testConfig(), n, h.complete, nil)
				if err != nil {
					t.Fatal(err)
				}
				for ref := range uint64(2) {
					if err := h.send(p, ref, 0, 8); err != nil {
						t.Fatal(err)
					}
					h.wait()
				}
				end(t, p)
				if acked, _, _ := h.check(t, n.refs()); acked != 2 {
					t.Errorf("%d records acknowledged, want 2", acked)
				}
				if n.dials < 2 {
					t.Error("the connection was not given up")
				}
				n.stop()
			})
		})
	}
}

// TestAnswerBeforeTheRequestIsRead: a broker answers while the request is still
// being written. The batch's buffer must not be used again before the write is
// over.
func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork(t, 1)
		n.serve = func(c *fakeConn) {
			var head [40]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			if n.dials == 1 {
				r := &fakeRequest{version: 11, correlation: int32(binary.BigEndian.Uint32(head[8:])), batches: []*modelBatch{{topic: "t"}}}
				c.Write(encodeAnswer(r, []fakeAnswer{{offset: 5, leader: -1, logAppend: -1}}, 0))
				time.Sleep(time.Hour) // and never reads the rest
				return
			}
			t.Error("the record was sent again")
		}
		var got []error
		done := make(chan struct{})
		complete := func(c *Completion) { got = append(got, c.Err); close(done) }
		p, err := newPipeline(testConfig(func(c *config.Producer) { c.RequestTimeout = config.Duration(2 * time.Second) }), n, complete, nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r := Record{Topic: "t", Value: make([]byte, 1000), Reserved: 0}
		if err := p.Append(&r); err != nil {
			t.Fatal(err)
		}
		<-done
		if d := time.Since(start); d < 2*time.Second {
			t.Errorf("completed after %s, while its bytes were still being written", d)
		}
		if got[0] != nil {
			t.Errorf("Err = %v", got[0])
		}
		end(t, p)
		n.stop()
	})
}

var _ net.Conn = (*fakeConn)(nil)
