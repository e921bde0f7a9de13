package interceptor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

func TestLogIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		s := &fakeSeat{onSend: func(*fakeCall) error { return nil }}
		c, err := NewChain(ChainConfig{Name: "c", OnSend: []Link{s.link("p")}, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.Lane(context.Background(), 3, 4)
		if err != nil {
			t.Fatal(err)
		}
		say := func(n int) {
			for i := range n {
				s.host.Log(abi.LogInfo, fmt.Appendf(nil, "line %d", i))
			}
		}
		say(130)
		if got := strings.Count(log.String(), "plugin log"); got != logRate {
			t.Errorf("got %d lines, want %d", got, logRate)
		}
		if strings.Contains(log.String(), "suppressed") {
			t.Error("told of suppressed lines before the second is over")
		}
		time.Sleep(time.Second)
		say(1)
		if got := log.String(); !strings.Contains(got, "lines=30") || !strings.Contains(got, "plugin=p") || !strings.Contains(got, "lane=3") {
			t.Errorf("suppressed lines are not told: %s", got[max(0, len(got)-300):])
		}
		say(105)
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); !strings.Contains(got, "lines=6") {
			t.Errorf("suppressed lines are not told at the end: %s", got[max(0, len(got)-300):])
		}
	})
}

func TestLogLevels(t *testing.T) {
	var log logged
	s := &fakeSeat{onSend: func(*fakeCall) error { return nil }}
	chainOf(t, ChainConfig{OnSend: []Link{s.link("p")}, Logger: log.logger()})
	for _, level := range []int32{abi.LogDebug, abi.LogInfo, abi.LogWarn, abi.LogError, 77} {
		s.host.Log(level, fmt.Appendf(nil, "at-%d", level))
	}
	for level, want := range map[string]bool{"at-0": false, "at-1": true, "level=WARN msg=\"plugin log\" plugin=p chain=test lane=0 line=at-2": true, "level=ERROR": true, "line=at-77": true} {
		if got := strings.Contains(log.String(), level); got != want {
			t.Errorf("%s: got %t, want %t: %s", level, got, want, log.String())
		}
	}
}

func TestPartitionHost(t *testing.T) {
	var m counts
	var log logged
	h := PartitionHost("p", log.logger(), 0, &m)
	counter, err := h.DefineMetric(abi.MetricCounter, "c")
	if err != nil {
		t.Fatal(err)
	}
	histogram, err := h.DefineMetric(abi.MetricHistogram, "h")
	if err != nil {
		t.Fatal(err)
	}
	h.AddMetric(counter, 2)
	h.AddMetric(counter, -2)
	h.AddMetric(histogram, 2)
	h.ObserveMetric(histogram, 1)
	h.ObserveMetric(counter, 1)
	h.Log(abi.LogInfo, []byte("hello"))
	if m.get("counter p c") != 2 || m.get("observed p h") != 1 || len(m.m) != 2 {
		t.Errorf("got %v", m.m)
	}
	if !strings.Contains(log.String(), "line=hello") {
		t.Errorf("log: %s", log.String())
	}
	if h.Claim(0, []byte("x"), 0) != abi.ClaimRefused || h.Value(0) != nil {
		t.Error("a partitioner has state")
	}
	// Both may be nil.
	PartitionHost("p", nil, 0, nil).Log(abi.LogInfo, []byte("nowhere"))
}
