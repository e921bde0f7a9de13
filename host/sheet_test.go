package host

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/klamm-io/klamm"
)

func someSheet(random *rand.Rand, topics, partitions int) *sheet {
	s := &sheet{start: random.Int64N(1000), end: random.Int64N(1 << 40), in: random.Int64(), dropped: random.Int64N(9)}
	for _, m := range []*map[klamm.TopicPartition]int64{&s.out, &s.dead, &s.base} {
		*m = map[klamm.TopicPartition]int64{}
		for range random.IntN(partitions + 1) {
			(*m)[klamm.TopicPartition{Topic: fmt.Sprint("topic-", random.IntN(topics)), Partition: random.Int32N(int32(partitions))}] = random.Int64N(1 << 30)
		}
	}
	return s
}

func TestSheetsComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		s := someSheet(random, 3, 40)
		text, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeSheet(text)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v, error %v, want %+v", got, err, s)
		}
		for cut := range text {
			if got, err := decodeSheet(text[:cut]); err == nil {
				t.Fatalf("%q is read as %+v", text[:cut], got)
			}
		}
	}
}

// Of a topic with very many partitions the sheet has what all of them got.
func TestSheetFolds(t *testing.T) {
	s := someSheet(rand.New(rand.NewPCG(1, 1)), 1, 2)
	s.base, s.out, s.dead = map[klamm.TopicPartition]int64{}, map[klamm.TopicPartition]int64{}, map[klamm.TopicPartition]int64{}
	sum := int64(0)
	for i := range int64(5000) {
		s.out[klamm.TopicPartition{Topic: "t", Partition: int32(i)}] = i
		sum += i
	}
	text, err := s.encode()
	if err != nil || len(text) > noteMax {
		t.Fatalf("%d bytes, error %v", len(text), err)
	}
	got, err := decodeSheet(text)
	if err != nil || !maps.Equal(got.out, map[klamm.TopicPartition]int64{{Topic: "t", Partition: klamm.NoPartition}: sum}) {
		t.Errorf("got %v, error %v", got.out, err)
	}
	s.base = s.out
	if _, err := s.encode(); err == nil || !strings.Contains(err.Error(), "too many output partitions") {
		t.Errorf("what does not fit: %v", err)
	}
}

func FuzzSheet(f *testing.F) {
	text, err := someSheet(rand.New(rand.NewPCG(2, 2)), 2, 5).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(sheetMagic)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := decodeSheet(text)
		if err != nil {
			return
		}
		again, err := decodeSheet(s.text())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v came back as %+v, error %v", s, again, err)
		}
	})
}
