package jobs

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/redis/go-redis/v9"
)

// redisJob is the recipe of the tutorials. It marks an id and then sends, so what
// is lost between the two is lost.
type redisJob struct {
	group    sarama.ConsumerGroup
	producer sarama.SyncProducer
	redis    *redis.Client
	in, out  string
	left     *counted
	first    stamp // when the first record came
	stamp
	stop atomic.Pointer[context.CancelFunc]
}

// Began implements Beginner.
func (j *redisJob) Began() time.Time { return j.first.Ended() }

func openRedis(cfg Config) (Job, error) {
	sc := sarama.NewConfig()
	sc.Version = sarama.V2_8_0_0
	sc.Consumer.Offsets.Initial = sarama.OffsetOldest
	sc.Consumer.Group.InstanceId = cfg.Group // so that a restart need not wait for the killed one's session to end
	sc.Producer.RequiredAcks = sarama.WaitForAll
	sc.Producer.Return.Successes = true
	j := &redisJob{in: cfg.In, out: cfg.Out, left: newCounted(cfg.Records), redis: redis.NewClient(&redis.Options{Addr: cfg.Redis})}
	var err, err2 error
	j.group, err = sarama.NewConsumerGroup(cfg.Brokers, cfg.Group, sc)
	j.producer, err2 = sarama.NewSyncProducer(cfg.Brokers, sc)
	return j, errors.Join(err, err2)
}

func (j *redisJob) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j.stop.Store(&cancel)
	for ctx.Err() == nil {
		if err := j.group.Consume(ctx, []string{j.in}, j); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (j *redisJob) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (j *redisJob) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (j *redisJob) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		j.first.once()
		fresh, err := j.redis.SetNX(s.Context(), j.out+":"+string(m.Key), 1, time.Hour).Result()
		if err != nil {
			return err
		}
		if fresh {
			if _, _, err := j.producer.SendMessage(&sarama.ProducerMessage{Topic: j.out, Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value), Headers: headersOf(m)}); err != nil {
				return err
			}
		}
		s.MarkMessage(m, "")
		if j.left.handled(1) {
			j.now()
			(*j.stop.Load())()
		}
	}
	return nil
}

func headersOf(m *sarama.ConsumerMessage) (headers []sarama.RecordHeader) {
	for _, h := range m.Headers {
		headers = append(headers, *h)
	}
	return headers
}

func (j *redisJob) Close() error {
	err := j.group.Close()
	if j.producer != nil {
		err = errors.Join(err, j.producer.Close())
	}
	return errors.Join(err, j.redis.Close())
}
