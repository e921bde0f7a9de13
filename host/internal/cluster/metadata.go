package cluster

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

const (
	// refreshBackoff and refreshBackoffMax bound how often one topic is asked
	// for: they mirror Kafka's retry.backoff.ms and retry.backoff.max.ms.
	refreshBackoff    = 100 * time.Millisecond
	refreshBackoffMax = time.Second
	// forgetAfter is how long brokers must say that a known topic is unknown
	// until it counts as deleted. One that lags behind says so for seconds.
	forgetAfter = 30 * time.Second
	// metadataTimeout bounds one metadata request; another broker is asked then.
	metadataTimeout = 10 * time.Second
)

// entry is what the metadata goroutine keeps of a topic. c.mu guards it.
type entry struct {
	name  string
	topic *Topic // last known facts, nil when there are none
	err   error  // of the last answer, nil when it had facts

	usedAt       time.Time // when somebody was last found to use it
	wanted       bool      // asked for, or trouble that time may mend
	asked        time.Time // zero: never
	fruitless    int       // requests in a row without news
	answers      int
	unknownSince time.Time
	answered     chan struct{} // closed at the next answer
}

func (c *Cluster) entryLocked(name string) *entry {
	e := c.entries[name]
	if e == nil {
		e = &entry{name: name, answered: make(chan struct{})}
		c.entries[name] = e
	}
	return e
}

// Topic returns what is known of a topic, nil when nothing is yet. It takes no
// lock. It stays what it was while brokers say for a moment that they do not
// know the topic.
func (c *Cluster) Topic(name string) *Topic {
	t := (*c.topics.Load())[name]
	if t != nil && !t.used.Load() {
		t.used.Store(true)
	}
	return t
}

// Leader returns a partition's leader and its epoch, -1 when they are not known.
func (c *Cluster) Leader(topic string, partition int32) (broker, epoch int32) {
	t := c.Topic(topic)
	if t == nil || partition < 0 || int(partition) >= len(t.Partitions) {
		return -1, -1
	}
	p := t.Partitions[partition]
	return p.Leader, p.LeaderEpoch
}

// OnChange has f called with every topic that is new or has changed, on the
// metadata goroutine: f must not wait. Topics known before are not repeated.
func (c *Cluster) OnChange(f func(*Topic)) { c.Watch(f) }

// Watch is OnChange until stop is called. A call of f may still be running when
// stop returns.
func (c *Cluster) Watch(f func(*Topic)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers++
	n := c.watchers
	c.onChange[n] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.onChange, n)
	}
}

// Refresh asks for the topics soon, or for all known ones. It never waits. Calls
// that come while a request is on its way are served together by the next one,
// and a topic that brings no news is asked for less and less often.
func (c *Cluster) Refresh(topics ...string) {
	c.mu.Lock()
	if len(topics) == 0 {
		for _, e := range c.entries {
			e.wanted = true
		}
	}
	for _, name := range topics {
		if klamm.CheckTopic(name) == nil {
			c.entryLocked(name).wanted = true
		}
	}
	c.mu.Unlock()
	c.wake()
}

func (c *Cluster) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// MetadataAge returns how long ago a broker last told about topics, 0 when none
// was asked yet.
func (c *Cluster) MetadataAge() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.toldAt.IsZero() {
		return 0
	}
	return time.Since(c.toldAt)
}

// SetLeader takes a broker's hint at a new leader (KIP-951). A hint with an
// older epoch than is known is ignored.
func (c *Cluster) SetLeader(topic string, partition, broker, epoch int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[topic]
	if e == nil || e.topic == nil {
		return
	}
	if t := e.topic.withLeader(partition, broker, epoch); t != nil {
		c.publishLocked(e, t)
		c.wake()
	}
}

// publishLocked makes t what is known. OnChange hears of it on the metadata
// goroutine.
func (c *Cluster) publishLocked(e *entry, t *Topic) {
	if t != nil && t.used == nil {
		t.used = new(atomic.Bool)
	}
	e.topic = t
	topics := maps.Clone(*c.topics.Load())
	if t == nil {
		delete(topics, e.name)
	} else {
		topics[e.name] = t
		c.changed = append(c.changed, t)
	}
	c.topics.Store(&topics)
}

// AwaitTopic asks until the topic is known.
//
// Errors: klamm.ErrInvalidTopic at once for a name that Kafka does not allow;
// klamm.ErrUnknownTopic when the brokers say for 5 s that there is none and
// allow_auto_create_topics is off; a *klamm.BrokerError when they refuse;
// klamm.ErrClosed; klamm.ErrTimeout, with what stood in the way, at ctx's
// deadline.
func (c *Cluster) AwaitTopic(ctx context.Context, name string) (*Topic, error) {
	if t := c.Topic(name); t != nil {
		return t, nil
	}
	if err := klamm.CheckTopic(name); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("topic %q: metadata", name)
	start, began := -1, time.Now()
	var last error
	for {
		c.mu.Lock()
		e := c.entryLocked(name)
		if start < 0 {
			start = e.answers
		}
		answers, answered := e.answers-start, e.answered
		t := e.topic
		if answers > 0 {
			last = e.err
		}
		if t == nil && last != nil && c.final(last, answers, time.Since(began)) {
			c.mu.Unlock()
			return nil, fmt.Errorf("topic %q: %w", name, c.advice(last))
		}
		e.wanted = t == nil
		c.mu.Unlock()
		if t != nil {
			return t, nil
		}
		c.wake()
		select {
		case <-answered:
		case <-ctx.Done():
			return nil, ended(ctx, what, c.advice(last))
		case <-c.ctx.Done():
			return nil, fmt.Errorf("%s: %w", what, klamm.ErrClosed)
		}
	}
}

// advice says what to do about a topic that there is none of.
func (c *Cluster) advice(err error) error {
	b, ok := err.(*klamm.BrokerError)
	switch {
	case !ok || b.Code != klamm.CodeUnknownTopicOrPartition:
		return err
	case c.settings.autoCreate:
		return fmt.Errorf("no broker knows it, and none has created it; look at auto.create.topics.enable of the brokers, or create it: %w", err)
	}
	return fmt.Errorf("no broker knows it; mend its name, create it, or set allow_auto_create_topics: %w", err)
}

// unknownFor is how long brokers must not know a topic until it counts as one
// that is not there. A topic that was made a moment ago reaches a broker that is
// busy, or has lost its controller, late: Apache Kafka under load took more than
// 100 ms, and its own client waits for max.block.ms.
const unknownFor = 5 * time.Second

// final reports whether an answer settles that the topic cannot be used.
func (c *Cluster) final(err error, answers int, waited time.Duration) bool {
	b, ok := err.(*klamm.BrokerError)
	switch {
	case !ok:
		return false
	case b.Code == klamm.CodeUnknownTopicOrPartition:
		return !c.settings.autoCreate && answers >= 2 && waited >= unknownFor
	case b.Code == klamm.CodeUnknownServerError:
		return false
	}
	return !b.Code.Retriable()
}

// metadataLoop is the metadata goroutine. l is a connection to start with.
func (c *Cluster) metadataLoop(l *link) {
	defer func() {
		if l != nil {
			l.close()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c.ctx.Err() == nil {
		c.tellChanges()
		names, wait := c.due(time.Now())
		if len(names) == 0 {
			timer.Reset(wait)
			select {
			case <-c.kick:
			case <-timer.C:
			case <-c.ctx.Done():
			}
			continue
		}
		var resp *sarama.MetadataResponse
		var err error
		l, resp, err = c.ask(l, names)
		c.take(names, resp, err)
	}
}

func (c *Cluster) tellChanges() {
	c.mu.Lock()
	changed, fs := c.changed, slices.Collect(maps.Values(c.onChange))
	c.changed = nil
	c.mu.Unlock()
	for _, t := range changed {
		for _, f := range fs {
			f(t)
		}
	}
}

// due returns the topics to ask for now, or how long none is.
func (c *Cluster) due(now time.Time) (names []string, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait = c.settings.maxAge
	for name, e := range c.entries {
		if !e.wanted && e.topic == nil {
			continue
		}
		at := e.asked.Add(c.settings.maxAge)
		if e.wanted {
			at = e.asked.Add(backoff(e.fruitless))
		}
		if d := at.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if c.isIdleLocked(e, now) {
			c.forgetLocked(e)
			continue
		}
		names = append(names, name)
		e.asked = now
		// A Refresh from here on wants a newer answer than this one.
		e.wanted = false
	}
	slices.Sort(names)
	return names, wait
}

// isIdleLocked reports whether a topic was not used for metadata_max_idle_ms. It
// is asked when the topic's metadata is due for its age.
func (c *Cluster) isIdleLocked(e *entry, now time.Time) bool {
	if e.topic == nil || e.topic.used.Swap(false) || e.usedAt.IsZero() {
		e.usedAt = now
		return false
	}
	return !e.wanted && now.Sub(e.usedAt) >= c.settings.maxIdle
}

// forgetLocked drops what is known of a topic that nobody uses, so that what is
// kept and asked for does not grow with every topic that was ever used. Its next
// user asks for it.
func (c *Cluster) forgetLocked(e *entry) {
	c.log.Debug("topic is not used any more", "topic", e.name)
	c.oldEpoch = max(c.oldEpoch, e.topic.Epoch)
	c.publishLocked(e, nil)
	delete(c.entries, e.name)
}

// backoff doubles from refreshBackoff to refreshBackoffMax, with a fifth of
// jitter (KIP-580). The first request after a fruitful one does not wait.
func backoff(fruitless int) time.Duration {
	if fruitless == 0 {
		return 0
	}
	d := refreshBackoffMax
	if fruitless < 5 {
		d = min(d, refreshBackoff<<(fruitless-1))
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// ask sends one metadata request over l, or over a new connection. It returns
// the connection to use next time, nil after an error.
func (c *Cluster) ask(l *link, names []string) (*link, *sarama.MetadataResponse, error) {
	ctx, cancel := context.WithTimeoutCause(c.ctx, metadataTimeout, errDialTimeout{metadataTimeout})
	defer cancel()
	if l == nil {
		var err error
		if l, err = c.openAny(ctx); err != nil {
			return nil, nil, err
		}
	}
	resp, err := c.requestMetadata(ctx, l, names, c.settings.autoCreate)
	if err != nil {
		l.close()
		c.log.Debug("metadata request", "addr", l.addr, "err", err)
		return nil, nil, l.explain(ctx, c.settings, err)
	}
	return l, resp, nil
}

// requestMetadata asks for topics, nil for all, and learns the brokers.
func (c *Cluster) requestMetadata(ctx context.Context, l *link, names []string, create bool) (*sarama.MetadataResponse, error) {
	req := sarama.NewMetadataRequest(protocolVersion, names)
	req.AllowAutoTopicCreation = create
	var resp *sarama.MetadataResponse
	err := l.do(ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.GetMetadata(req)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(resp.Brokers) > 0 { // a broker that is starting up names none (KAFKA-7924)
		c.mu.Lock()
		clear(c.brokers)
		for _, b := range resp.Brokers {
			c.brokers[b.ID()] = b.Addr()
		}
		c.controller = resp.ControllerID
		c.toldAt = time.Now()
		c.mu.Unlock()
	}
	return resp, nil
}

// take stores an answer, or the error in its place, and wakes who waits.
func (c *Cluster) take(names []string, resp *sarama.MetadataResponse, err error) {
	answers := make(map[string]*sarama.TopicMetadata)
	if resp != nil {
		for _, t := range resp.Topics {
			answers[t.Name] = t
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		e := c.entries[name]
		if e == nil {
			continue
		}
		if err != nil {
			c.answerLocked(e, nil, err)
		} else {
			c.answerLocked(e, answers[name], nil)
		}
	}
}

func (c *Cluster) answerLocked(e *entry, answer *sarama.TopicMetadata, err error) {
	before := e.topic
	e.err = err
	switch {
	case err != nil:
	case answer == nil:
		e.err = &klamm.BrokerError{Code: klamm.CodeUnknownTopicOrPartition}
	case answer.Err != sarama.ErrNoError && len(answer.Partitions) == 0:
		e.err = brokerError(answer.Err, nil)
	default:
		var t *Topic
		if t, e.err = merge(before, answer); e.err == nil && before == nil {
			// Whoever remembers a forgotten topic by its epoch must not take
			// this one for it.
			t.Epoch += c.oldEpoch
		}
		if e.err == nil && t != before && len(t.Partitions) > 0 {
			c.publishLocked(e, t)
		}
	}
	c.rememberUnknownLocked(e)
	// Trouble that time may mend is asked about again without being told to.
	if e.topic != nil && (e.err != nil || e.topic.leaderless()) {
		e.wanted = true
	}
	e.fruitless++
	if e.topic != before {
		e.fruitless = 0
	}
	if !e.wanted && e.err == nil {
		e.fruitless = min(e.fruitless, 1)
	}
	e.answers++
	close(e.answered)
	e.answered = make(chan struct{})
}

// rememberUnknownLocked drops a topic that has been unknown for long. Until then
// its facts stay: dropping them at the first such answer loses the sequence
// numbers that hang on them.
func (c *Cluster) rememberUnknownLocked(e *entry) {
	b, ok := e.err.(*klamm.BrokerError)
	if !ok || b.Code != klamm.CodeUnknownTopicOrPartition {
		if e.err == nil {
			e.unknownSince = time.Time{}
		}
		return
	}
	now := time.Now()
	if e.unknownSince.IsZero() {
		e.unknownSince = now
	}
	if e.topic != nil && now.Sub(e.unknownSince) >= forgetAfter {
		c.log.Warn("topic is gone", "topic", e.name)
		c.publishLocked(e, nil)
	}
}
