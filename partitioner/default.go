package partitioner

import "github.com/klamm-io/klamm"

type DefaultConfig struct {
	BatchSize  int
	IgnoreKeys bool
	Adaptive   bool
	Rand       func() uint32
}

type DefaultPartitioner struct{}

func Default(cfg DefaultConfig) *DefaultPartitioner { panic("partitioner: unwritten") }
func (p *DefaultPartitioner) Partition(rec *klamm.Record, t *Topic) (int32, error) {
	panic("partitioner: unwritten")
}
func (p *DefaultPartitioner) Appended(topic string, partition int32, bytes int, newBatch bool) {
	panic("partitioner: unwritten")
}
func RoundRobin() Partitioner                                   { panic("partitioner: unwritten") }
func Manual() Partitioner                                       { panic("partitioner: unwritten") }
func CRC32() Partitioner                                        { panic("partitioner: unwritten") }
func FNV1a() Partitioner                                        { panic("partitioner: unwritten") }
func Murmur2(key []byte) uint32                                 { panic("partitioner: unwritten") }
func ByName(name string, cfg DefaultConfig) (Partitioner, bool) { panic("partitioner: unwritten") }
