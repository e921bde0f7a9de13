package plugin

import (
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Fields is what a hook asks to see of each record. What is not asked for stays
// in the host: a hook that needs the key alone is several times cheaper than one
// that takes large values along. Topic, partition, offset and Ref need not be
// asked for.
type Fields = abi.Fields

// The fields. What a hook reads without having asked for it is slow or missing:
// values and headers are fetched from the host record by record, a key reads as
// null, a timestamp as zero, and of the topic there is only the name.
const (
	Key        Fields = abi.FieldKey
	Value      Fields = abi.FieldValue
	Headers    Fields = abi.FieldHeaders
	Timestamp  Fields = abi.FieldTimestamp
	TopicFacts Fields = abi.FieldTopicFacts // number of partitions, which are available
	Load       Fields = abi.FieldLoad       // bytes queued for each partition
)

// Units for the defaults of Duration and Size.
const (
	Millisecond = time.Millisecond
	Second      = time.Second
	Minute      = time.Minute
	Hour        = time.Hour

	KiB int64 = 1 << 10
	MiB int64 = 1 << 20
)
