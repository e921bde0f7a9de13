package checker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const killedEnv = "KLAMM_CHECKER_KILLED"

// beKilled is the child of TestHistorySurvivesKill: it notes records until it is
// killed, and prints how many it could have sent.
func beKilled() {
	path := os.Getenv(killedEnv)
	if path == "" {
		return
	}
	w, err := Create(path, Head{Topic: "t", Started: time.Now(), Durable: true})
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		if err := w.Sent(Sent{ID: MakeID(1, 2, n), Time: time.Now()}); err != nil {
			panic(err)
		}
		fmt.Println(n + 1)
	}
}

func TestHistorySurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killedEnv+"="+path)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(out)
	sent := int64(0)
	for lines.Scan() {
		sent, err = strconv.ParseInt(lines.Text(), 10, 64)
		must(t, err)
		if sent == 50 {
			must(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	h, err := Load(path)
	must(t, err)
	if h.Len() < sent || h.Len() > sent+1 || h.Closed {
		t.Errorf("the history has %d records, closed %v; %d may have been sent", h.Len(), h.Closed, sent)
	}
}

// TestHistoryTornTail cuts a history at every length, and flips bits.
func TestHistoryTornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	w, err := Create(path, Head{Topic: "t", Started: time.UnixMilli(0), Durable: true})
	must(t, err)
	const records = 20
	var lengths []int64 // after each record
	for n := range records {
		must(t, w.Sent(Sent{ID: MakeID(1, 2, n), Time: time.UnixMilli(5)}))
		st, err := os.Stat(path)
		must(t, err)
		lengths = append(lengths, st.Size())
	}
	must(t, w.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	start := int(lengths[0])
	for cut := start; cut < len(whole); cut++ {
		want := int64(0)
		for want < records && lengths[want] <= int64(cut) {
			want++
		}
		h, err := ReadHistory(bytes.NewReader(whole[:cut]))
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if h.Len() != want || h.Closed || (h.TornBytes > 0) != (int64(cut) != lengths[want-1]) {
			t.Fatalf("cut at %d: %d records, closed %v, %d bytes torn; want %d", cut, h.Len(), h.Closed, h.TornBytes, want)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		h, err := ReadHistory(bytes.NewReader(bad))
		if err == nil && h.Closed {
			t.Fatalf("a flipped bit at %d of %d was not found", i, len(whole))
		}
	}
}

func TestHistoryRefuses(t *testing.T) {
	good := func(entries ...byte) []byte {
		return append(append([]byte(fileMagic), block([]byte("{}"))...), block(entries)...)
	}
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "no history"},
		{"another file", []byte("#!/bin/sh\necho hello\n"), "no history"},
		{"no head", []byte(fileMagic), "head"},
		{"head is not JSON", append([]byte(fileMagic), block([]byte("{"))...), "head"},
		{"unknown kind", good(99), "unknown kind 99"},
		{"entry ends early", good(byte(kindSent), 1), "too early"},
		{"record out of turn", good(appendSent(nil, Sent{ID: MakeID(0, 0, 5)}, time.Time{})...), "follows 0 others"},
		{"unknown outcome", good(appendEnded(nil, Ended{Outcome: 77})...), "unknown outcome 77"},
		{"unknown hook", good(byte(kindHook), 9, 0), "unknown hook 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ReadHistory(bytes.NewReader(tt.file)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestHistoryFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	w, err := Create(path, Head{})
	must(t, err)
	if _, err := Create(path, Head{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a history was overwritten: %v", err)
	}
	must(t, w.Close())
	must(t, w.Close())
	if err := w.Sent(Sent{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Sent after Close: %v", err)
	}
	if _, err := Load(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of a missing file: %v", err)
	}
}

// A history that was cut short knows less, and so less can be wrong.
func TestCutHistoryAccusesNobody(t *testing.T) {
	w := newWorld(t)
	h := w.write()
	h.Closed = false
	id := MakeID(1, 4, 20)
	*h.fact(id) = fact{asked: -1, order: h.fact(id).order, offset: -1, partition: -1, hooks: h.fact(id).hooks}
	w.log.put(1, MakeID(9, 9, 9))
	r, err := Judge(t.Context(), h, w.log, Options{})
	must(t, err)
	if err := r.Err(); err != nil || r.Complete || r.Unknown != 1 || r.UnknownWritten != 1 {
		t.Errorf("%d unknown, %d of them written, complete %v: %v", r.Unknown, r.UnknownWritten, r.Complete, err)
	}
}

func FuzzReadHistory(f *testing.F) {
	entries := appendEnded(appendSent(nil, Sent{ID: MakeID(1, 2, 0)}, time.Time{}), Ended{ID: MakeID(1, 2, 0), Outcome: OK})
	f.Add(appendPolled(entries, Polled{Consumer: 1}))
	f.Add([]byte{byte(kindTxn), 1, 5, byte(kindHook), 0, 0, byte(kindClosed)})
	f.Fuzz(func(t *testing.T, entries []byte) {
		h := newHistory(Head{})
		if err := h.apply(entries); err == nil && h.Len() > int64(len(entries)) {
			t.Errorf("%d bytes make %d records", len(entries), h.Len())
		}
	})
}
