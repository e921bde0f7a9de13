package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/internal/config"
	sdk "github.com/klamm-io/klamm/sdk/plugin"
)

// rekeying puts records with one id of dedup into one partition.
type rekeying struct {
	parts   []idPart
	paths   *sdk.Paths
	matches []sdk.Match
	count   int // of partitions, as of the start: an id never moves while it runs
}

// idPart is one part of an id, by what the bundled dedup is configured with.
type idPart struct {
	key    bool
	header string
	path   int // of JSON, where the others are not set
}

// newRekeying reads what dedup's module has accepted before.
func newRekeying(id []string, count int) (*rekeying, error) {
	r := &rekeying{count: count}
	var paths []sdk.Path
	for _, text := range id {
		switch kind, rest, _ := strings.Cut(text, ":"); kind {
		case "key":
			r.parts = append(r.parts, idPart{key: true})
		case "header":
			r.parts = append(r.parts, idPart{header: rest})
		default:
			p, err := sdk.ParsePath(rest)
			if err != nil {
				return nil, err
			}
			r.parts = append(r.parts, idPart{path: len(paths)})
			paths = append(paths, p)
		}
	}
	var err error
	if len(paths) > 0 {
		r.paths, err = sdk.NewPaths(paths...)
	}
	return r, err
}

// partition returns where a record belongs. One without an id, which dedup does
// with what on_missing says, belongs anywhere: where the rest of it does. It is used
// by one goroutine at a time.
func (r *rekeying) partition(rec *klamm.Record) int32 {
	if r.matches = nil; r.paths != nil && rec.Value != nil {
		r.matches, _ = r.paths.Scan(rec.Value) // no JSON, no id
	}
	h := fnv.New64a()
	for _, p := range r.parts {
		v, text := r.part(rec, p)
		var head [9]byte // how long it is, and what
		binary.LittleEndian.PutUint64(head[:], uint64(len(v)))
		if text {
			head[8] = 1
		}
		_, _ = h.Write(head[:])
		_, _ = h.Write(v)
	}
	// The low bits of FNV alone are poor.
	sum := h.Sum64()
	sum ^= sum >> 32
	return int32(sum * 0x9e3779b97f4a7c15 >> 33 % uint64(r.count))
}

func (r *rekeying) part(rec *klamm.Record, p idPart) (v []byte, text bool) {
	switch {
	case p.key:
		return rec.Key, true
	case p.header != "":
		for _, h := range rec.Headers { // the last one counts
			if h.Key == p.header {
				v = h.Value
			}
		}
		return v, true
	}
	raw, ok := sdk.Last(rec.Value, r.matches, p.path)
	if !ok {
		return nil, false
	}
	if s, ok := sdk.JSONString(raw); ok {
		return s, true
	}
	return raw, false
}

// makeRekeyTopics makes the topics of pipelines with rekey, with as many partitions
// as the largest of their inputs.
func (h *Host) makeRekeyTopics(ctx context.Context, pipelines map[string]PipelineConfig) error {
	for name := range pipelines {
		cfg := h.cfg.Pipeline[name]
		if !cfg.Rekey {
			continue
		}
		topic := h.cfg.RekeyTopic(name)
		partitions, err := h.rekeyPartitions(ctx, name, cfg)
		if err != nil {
			return fmt.Errorf("pipeline %q: %w", name, err)
		}
		err = h.cluster.CreateTopic(ctx, topic, partitions, -1, nil)
		var broker *klamm.BrokerError
		if err != nil && !(errors.As(err, &broker) && broker.Code == klamm.CodeTopicAlreadyExists) {
			return fmt.Errorf("pipeline %q: make topic %q: %w", name, topic, err)
		}
		if err == nil {
			h.log.Info("topic made for rekey", "pipeline", name, "topic", topic, "partitions", partitions)
		}
	}
	return nil
}

// rekeyPartitions returns how many partitions a rekeyed pipeline has, or will
// have.
func (h *Host) rekeyPartitions(ctx context.Context, name string, cfg PipelineConfig) (int32, error) {
	topics, err := h.cluster.DescribeTopics(ctx, h.cfg.RekeyTopic(name))
	if err == nil {
		return int32(len(topics[0].Partitions)), nil
	}
	var broker *klamm.BrokerError
	if !errors.As(err, &broker) || broker.Code != klamm.CodeUnknownTopicOrPartition {
		return 0, fmt.Errorf("look at topic %q of rekey: %w", h.cfg.RekeyTopic(name), err)
	}
	n := 0
	for _, from := range cfg.From {
		t, err := h.cluster.AwaitTopic(ctx, from)
		if err != nil {
			return 0, err
		}
		n = max(n, len(t.Partitions))
	}
	return int32(n), nil
}

// rekeyingOf returns what a stage partitions by, nil for a pipeline that is none.
func (h *Host) rekeyingOf(ctx context.Context, stage string, cfg PipelineConfig) (*rekeying, error) {
	for name, p := range h.cfg.Pipeline {
		if p.Rekey && config.RekeyStage(name) == stage {
			t, err := h.cluster.AwaitTopic(ctx, cfg.To)
			if err != nil {
				return nil, err
			}
			return newRekeying(h.cfg.RekeyID(name), len(t.Partitions))
		}
	}
	return nil, nil
}
