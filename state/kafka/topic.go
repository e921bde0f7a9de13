package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/state"
)

// Settings are those of a topic that is made. Its log is cleaned in segments, of
// which the newest never is: small ones keep little that is superseded.
func Settings() map[string]string {
	return map[string]string{"cleanup.policy": "compact", "segment.bytes": "67108864"}
}

// CheckTopic tells why a topic cannot keep the ids of an input of that many
// partitions, or nil.
func CheckTopic(d Description, partitions int32) error {
	if d.Partitions != partitions {
		return fmt.Errorf("it has %d partitions and the pipeline's input has %d: each needs its own; name another topic, or delete this one, which forgets its ids", d.Partitions, partitions)
	}
	switch policy := d.CleanupPolicy; {
	case policy == "", policy == "compact":
	case !strings.Contains(policy, "compact"):
		return fmt.Errorf(`its cleanup.policy is %q, which deletes ids that are still in the window: set it to "compact"`, policy)
	default:
		return fmt.Errorf(`its cleanup.policy is %q, which deletes ids by the time of their writing, and the key that all are hashed with: set it to "compact"; what leaves the window is deleted by Klamm`, policy)
	}
	return nil
}

// header is the first record of partition 0: whose the topic is, and the key of
// its ids. Hosts that start at once may write several: the first one counts. Each
// has a record key of its own, so that compaction keeps all.
type header struct {
	Format     int    `json:"format"`
	State      string `json:"state"`
	Pipeline   string `json:"pipeline"`
	Scope      string `json:"scope"`
	Clock      string `json:"clock"`
	Partitions int32  `json:"partitions"`
	Key        string `json:"key"`

	key state.Key // Key
}

const headerMark = "klamm.state."

func isHeader(key []byte) bool { return bytes.HasPrefix(key, []byte(headerMark)) }

// Open looks for the topic, or makes it, and learns the key of its ids.
// partitions is how many the pipeline's input has. It does nothing once it has
// succeeded.
func (b *Backend) Open(ctx context.Context, partitions int32) error {
	b.opening.Lock()
	defer b.opening.Unlock()
	b.mu.Lock()
	opened := b.opened
	b.mu.Unlock()
	if opened {
		return nil
	}
	if err := b.ensure(ctx, partitions); err != nil {
		return b.wrap(err)
	}
	h, err := b.agree(ctx, partitions)
	if err != nil {
		return b.wrap(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened, b.key = true, h.key
	b.limit = (b.o.MaxEntries + int(partitions) - 1) / int(partitions)
	return nil
}

// Verify tells what Open would refuse, and makes nothing. exists is false where
// there is no topic yet, which is no error.
func (b *Backend) Verify(ctx context.Context, partitions int32) (exists bool, err error) {
	d, ok, err := b.o.Log.Describe(ctx)
	if err == nil && ok {
		err = CheckTopic(d, partitions)
	}
	if err == nil && ok {
		var h *header
		switch h, err = b.readHeader(ctx); {
		case errors.Is(err, errNoHeader):
			err = nil
		case err == nil:
			err = h.matches(b.header(partitions))
		}
	}
	if err != nil {
		err = b.wrap(err)
	}
	return ok, err
}

// header is the one that this host would write.
func (b *Backend) header(partitions int32) *header {
	return &header{
		Format: Format, State: b.o.Name, Pipeline: b.o.Pipeline, Scope: b.o.Scope, Clock: b.o.Clock, Partitions: partitions,
		Key: state.NewKey().Text(),
	}
}

// news is how long brokers may take to know a topic that one of them has made.
const (
	news      = 30 * time.Second
	newsPause = 50 * time.Millisecond
)

// ensure has the topic there, as it must be.
func (b *Backend) ensure(ctx context.Context, partitions int32) error {
	made := time.Time{}
	for {
		d, ok, err := b.o.Log.Describe(ctx)
		switch {
		case err != nil:
			return err
		case ok:
			return CheckTopic(d, partitions)
		case made.IsZero():
			if err := b.o.Log.Create(ctx, partitions, b.o.Replication, Settings()); err != nil {
				return fmt.Errorf("make it: %w", err)
			}
			b.o.Logger.Info("topic made for a state", "state", b.o.Name, "topic", b.o.Topic, "partitions", partitions)
			made = time.Now()
		case time.Since(made) > news:
			return fmt.Errorf("it was made, and for %v brokers have said that there is none", news)
		default:
			select {
			case <-time.After(newsPause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// agree returns the header that counts, written by this host or another.
func (b *Backend) agree(ctx context.Context, partitions int32) (*header, error) {
	mine := b.header(partitions)
	h, err := b.readHeader(ctx)
	if errors.Is(err, errNoHeader) {
		value, jsonErr := json.Marshal(mine)
		if jsonErr != nil {
			return nil, jsonErr
		}
		if err := b.o.Log.Append(ctx, 0, []byte(headerMark+state.NewKey().Text()), value); err != nil {
			return nil, fmt.Errorf("write its header: %w", err)
		}
		h, err = b.readHeader(ctx)
	}
	if err != nil {
		return nil, err
	}
	return h, h.matches(mine)
}

var (
	errNoHeader = errors.New("it has no header")
	errFound    = errors.New("found")
)

// readHeader returns the first record of partition 0.
func (b *Backend) readHeader(ctx context.Context) (*header, error) {
	first, end, err := b.o.Log.Bounds(ctx, 0)
	if err != nil {
		return nil, err
	}
	var found *klamm.Record
	err = b.o.Log.Read(ctx, 0, first, end, func(recs []klamm.Record) error {
		found = &klamm.Record{Key: bytes.Clone(recs[0].Key), Value: bytes.Clone(recs[0].Value)}
		return errFound
	})
	switch {
	case err != nil && !errors.Is(err, errFound):
		return nil, err
	case found == nil:
		return nil, errNoHeader
	case !isHeader(found.Key):
		return nil, fmt.Errorf("its first record is no header of a state: %w", errForeign)
	}
	h := new(header)
	if err := json.Unmarshal(found.Value, h); err != nil {
		return nil, fmt.Errorf("its header is damaged: %w: %w", err, errForeign)
	}
	if h.Format != Format {
		return nil, fmt.Errorf("it has format %d: this version reads format %d: use the version that made it, or another topic", h.Format, Format)
	}
	if h.key, err = state.ParseKey(h.Key); err != nil {
		return nil, fmt.Errorf("its header has no key: %w", errForeign)
	}
	return h, nil
}

// matches tells what a header of another state has that mine has not.
func (h *header) matches(mine *header) error {
	var errs []error
	differ := func(what, theirs, ours, mend string) {
		if theirs != ours {
			errs = append(errs, fmt.Errorf("it was made with %s %q, not %q: %s", what, theirs, ours, mend))
		}
	}
	differ("pipeline", h.Pipeline, mine.Pipeline, "two pipelines cannot share ids; name another topic")
	differ("state", h.State, mine.State, "name another topic")
	differ("scope", h.Scope, mine.Scope, "all hosts need the same; ids are hashed with it")
	differ("clock", h.Clock, mine.Clock, "all hosts need the same; ids expire by it")
	if h.Partitions != mine.Partitions {
		errs = append(errs, fmt.Errorf("it was made for an input of %d partitions, and that has %d now: records with the same id may go to another partition than before; name another topic, and copies of what was read until now may pass", h.Partitions, mine.Partitions))
	}
	return errors.Join(errs...)
}
