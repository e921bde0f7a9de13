package host

import (
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/host/internal/consume"
)

// What a transaction came to is known from one partition of it, but not from one
// that another host has gone on from.
func TestCutIsJudgedByItsOffsets(t *testing.T) {
	a, b := klamm.TopicPartition{Topic: "t", Partition: 0}, klamm.TopicPartition{Topic: "t", Partition: 1}
	c := &cut{
		offsets: map[klamm.TopicPartition]int64{a: 10, b: 20},
		notes:   map[klamm.TopicPartition]string{a: "mine", b: "mine"},
	}
	tests := []struct {
		name string
		now  map[klamm.TopicPartition]consume.Noted
		want fate
	}{
		{"all as committed", map[klamm.TopicPartition]consume.Noted{a: {Offset: 10, Note: "mine"}, b: {Offset: 20, Note: "mine"}}, fateCommitted},
		{"none yet", nil, fateAborted},
		{"all as before", map[klamm.TopicPartition]consume.Noted{a: {Offset: 5, Note: "before"}, b: {Offset: 5, Note: "before"}}, fateAborted},
		{"one gone on from, the other committed", map[klamm.TopicPartition]consume.Noted{a: {Offset: 12, Note: "another's"}, b: {Offset: 20, Note: "mine"}}, fateCommitted},
		{"one gone on from, the other not", map[klamm.TopicPartition]consume.Noted{a: {Offset: 12, Note: "another's"}, b: {Offset: 19, Note: "before"}}, fateAborted},
		{"both gone on from", map[klamm.TopicPartition]consume.Noted{a: {Offset: 12, Note: "another's"}, b: {Offset: 30, Note: "another's"}}, fateUnknown},
		{"another host has come as far", map[klamm.TopicPartition]consume.Noted{a: {Offset: 10, Note: "another's"}, b: {Offset: 20}}, fateUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := c.judge(tt.now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
