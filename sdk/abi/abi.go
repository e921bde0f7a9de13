// Package abi is the one place that knows how host and plugin lay out the
// bytes between them: names, version, codes and layouts of Klamm's ABI, major
// version 1. docs/abi.md explains it to people who write a guest without an
// SDK; this file is what host and SDK compile.
//
// All integers are little endian. Offsets count from the start of the block
// unless said otherwise, and everything is 8-aligned. Readers step by the sizes
// that they find in the headers, so that fields can be appended within a major.
package abi

// Major is the version in the marker export's name, Minor the level of appended
// fields and imports that this build speaks.
const (
	Major = 1
	Minor = 0
)

// Exports of a plugin.
const (
	ExportMemory     = "memory"
	ExportMarker     = "klamm_abi_1" // () -> (); read before instantiation
	ExportInitialize = "_initialize" // () -> (); optional WASI reactor start
	ExportAlloc      = "klamm_alloc" // (size i32) -> i32
	ExportInit       = "klamm_init"  // (ptr, len i32) -> i64
	ExportOnSend     = "klamm_on_send"
	ExportOnAck      = "klamm_on_ack"
	ExportOnConsume  = "klamm_on_consume"
	ExportOnCommit   = "klamm_on_commit"
	ExportPartition  = "klamm_partition"
	ExportClose      = "klamm_close" // () -> ()
	MarkerPrefix     = "klamm_abi_"
)

// ImportModule is the module name of the host's functions. Names that start
// with a reserved prefix belong to the host (meter).
const (
	ImportModule    = "klamm"
	ReservedPrefix  = "klamm."
	ReservedPrefix2 = "__klamm"
	ManifestSection = "klamm.manifest"
)

// Imports, all optional. Those marked init may only be called in klamm_init.
const (
	ImportLog           = "log"            // (level, ptr, len i32)
	ImportMetricDef     = "metric_def"     // (kind, ptr, len i32) -> id i32; init
	ImportReasonDef     = "reason_def"     // (code, ptr, len i32); init
	ImportMetricAdd     = "metric_add"     // (id i32, delta i64)
	ImportMetricObserve = "metric_observe" // (id i32, value f64)
	ImportClaim         = "claim"          // (index, k, klen i32, ttl_ms i64) -> i32
	ImportClaimBatch    = "claim_batch"    // (mask_out i32, ttl_ms i64) -> i32
	ImportStateGet      = "state_get"      // (k, klen, v, cap i32) -> i32
	ImportStatePut      = "state_put"      // (k, klen, v, vlen i32, ttl_ms i64) -> i32
	ImportNowNS         = "now_ns"         // () -> i64
	ImportRandom        = "random"         // (ptr, len i32)
	ImportHMAC          = "hmac"           // (name, nlen, ptr, len, out i32) -> i32
	ImportValue         = "value"          // (index, ptr, cap i32) -> i32
	ImportHeaders       = "headers"        // (index, ptr, cap i32) -> i32
)

// Hook is one of the five calls. Its value is the hook's index in masks.
type Hook uint8

// The hooks, in the order of the hook mask and of the field mask.
const (
	OnSend Hook = iota
	OnAcknowledgement
	OnConsume
	OnCommit
	Partition
	HookCount = 5
)

var hookNames = [HookCount]string{"on_send", "on_acknowledgement", "on_consume", "on_commit", "partition"}

var hookExports = [HookCount]string{ExportOnSend, ExportOnAck, ExportOnConsume, ExportOnCommit, ExportPartition}

// String returns the hook's name in configuration, metrics and errors.
func (h Hook) String() string {
	if h < HookCount {
		return hookNames[h]
	}
	return "unknown hook"
}

// Export returns the name of the function that a module exports for the hook.
func (h Hook) Export() string { return hookExports[h] }

// HookMask is a set of hooks.
type HookMask uint16

// Mask returns the set that holds h alone.
func (h Hook) Mask() HookMask { return 1 << h }

// Has reports whether the set holds h.
func (m HookMask) Has(h Hook) bool { return m&h.Mask() != 0 }

// Fields is what a hook asks to see of each record. What is not asked for is
// not copied into the block.
type Fields uint8

// The fields, six bits a hook in klamm_init's answer.
const (
	FieldKey        Fields = 1
	FieldValue      Fields = 2
	FieldHeaders    Fields = 4
	FieldTimestamp  Fields = 8
	FieldTopicFacts Fields = 16
	FieldLoad       Fields = 32
	fieldBits              = 6
	fieldMask              = 1<<fieldBits - 1
)

// InitResult is klamm_init's answer: bits 0-29 the field mask of each hook,
// 32-47 the hook mask, 48-63 an error (0 is ok).
type InitResult uint64

// PackInit builds klamm_init's answer.
func PackInit(hooks HookMask, fields [HookCount]Fields, code uint16) InitResult {
	var r uint64
	for h, f := range fields {
		r |= uint64(f&fieldMask) << (fieldBits * h)
	}
	return InitResult(r | uint64(hooks)<<32 | uint64(code)<<48)
}

// Hooks returns the hooks that the plugin wants to be called for.
func (r InitResult) Hooks() HookMask { return HookMask(r >> 32) }

// Fields returns what hook h asks to see.
func (r InitResult) Fields(h Hook) Fields { return Fields(r>>(fieldBits*uint(h))) & fieldMask }

// Err returns the plugin's error code, 0 for success.
func (r InitResult) Err() uint16 { return uint16(r >> 48) }

// CallResult is a hook's answer: bits 0-31 bytes used in the modification area,
// 32-47 an error code, 48-63 flags.
type CallResult uint64

// CallPartial says that the modification area was full: the header's done field
// tells how many records have a verdict.
const CallPartial uint16 = 1

// PackCall builds a hook's answer.
func PackCall(modUsed uint32, code, flags uint16) CallResult {
	return CallResult(uint64(modUsed) | uint64(code)<<32 | uint64(flags)<<48)
}

// ModUsed returns the bytes used in the modification area.
func (r CallResult) ModUsed() uint32 { return uint32(r) }

// Err returns the plugin's error code, 0 for success.
func (r CallResult) Err() uint16 { return uint16(r >> 32) }

// Flags returns the answer's flags.
func (r CallResult) Flags() uint16 { return uint16(r >> 48) }

// Sizes and limits of blocks.
const (
	BlockMax       = 1 << 20   // a block's bytes, without growth of the modification area
	BatchMax       = 512       // records in a block
	AllocMin       = 64 << 10  // least size that klamm_alloc is asked for
	HeadersInBlock = 256 << 10 // headers above it are omitted and pulled
	TextMax        = 1 << 10   // a verdict's text
	ReasonsMax     = 64        // declared reasons, each kind of metric alike
	LogLineMax     = 1 << 10
)

// Magic numbers of the first four bytes: "KLB1" and "KLA1" in memory order.
const (
	MagicBatch uint32 = 'K' | 'L'<<8 | 'B'<<16 | '1'<<24
	MagicAck   uint32 = 'K' | 'L'<<8 | 'A'<<16 | '1'<<24
)

// Batch header.
const (
	BatchHeaderSize = 64

	BatchMagic       = 0  // u32
	BatchSize        = 4  // u16 header size
	BatchRecordSize  = 6  // u16 record header size
	BatchCount       = 8  // u32
	BatchFlags       = 12 // u32
	BatchRecOff      = 16 // u32
	BatchVerdictOff  = 20 // u32
	BatchModOff      = 24 // u32
	BatchModCap      = 28 // u32
	BatchTopicsOff   = 32 // u32
	BatchTopicsCount = 36 // u32
	BatchNowMS       = 40 // i64, the clock that claims use
	BatchReserved    = 48 // 12 bytes, 0
	BatchDone        = 60 // u32, written by the guest
)

// Record header. Offsets inside a record are relative to its start.
const (
	RecordHeaderSize = 64

	RecSize        = 0  // u32, 8-aligned, to the next record
	RecFlags       = 4  // u32
	RecTimestamp   = 8  // i64 ms
	RecOffset      = 16 // i64, -1 on send
	RecPartition   = 24 // i32, -1 none
	RecTopic       = 28 // u32 index
	RecKeyOff      = 32 // u32
	RecKeyLen      = 36 // i32, -1 null
	RecValueOff    = 40 // u32
	RecValueLen    = 44 // i32, -1 null; the true length even if omitted
	RecHeadersOff  = 48 // u32
	RecHeaderCount = 52 // u16
	RecRef         = 56 // u64
)

// Record flags.
const (
	FlagValueOmitted   uint32 = 1
	FlagHeadersOmitted uint32 = 2
	FlagTransactional  uint32 = 8
)

// Header entry.
const (
	HeaderEntrySize = 16

	HdrKeyOff   = 0  // u32
	HdrKeyLen   = 4  // u32
	HdrValueOff = 8  // u32
	HdrValueLen = 12 // i32, -1 null
)

// Topic entry.
const (
	TopicEntrySize = 24

	TopNameOff    = 0  // u32
	TopNameLen    = 4  // u32
	TopPartitions = 8  // u32
	TopAvailOff   = 12 // u32, bitmap; 0 none
	TopLoadOff    = 16 // u32, u32 bytes queued per partition; 0 none
	TopEpoch      = 20 // u32
)

// Ack entry: follows each record of an acknowledgement or commit block.
const (
	AckEntrySize = 32

	AckError     = 0  // i32
	AckFlags     = 4  // u32
	AckLatencyUS = 8  // u32
	AckReason    = 12 // u32
	AckPlugin    = 16 // u16
)

// Flags of an acknowledgement.
const (
	AckDropped           uint32 = 1
	AckRetried           uint32 = 2
	AckAborted           uint32 = 4
	AckEarlierGeneration uint32 = 8
)

// Errors of an acknowledgement: Kafka's code where it is not negative, else one
// of ours.
const (
	ErrNone           int32 = 0
	ErrUnknownOutcome int32 = -1
	ErrTimedOut       int32 = -2
	ErrBuffer         int32 = -3
	ErrClosed         int32 = -4
	ErrPlugin         int32 = -5
	ErrAborted        int32 = -6
	ErrOther          int32 = -7
)

// Code is a verdict's code.
type Code uint8

// The verdicts.
const (
	Pass         Code = 0
	Drop         Code = 1
	Route        Code = 2
	ValueInPlace Code = 3
	Edit         Code = 4
	DeadLetter   Code = 5
	Fail         Code = 6
	codeReserved Code = 7 // emit
)

var codeNames = [...]string{"pass", "drop", "route", "value_in_place", "edit", "dead_letter", "fail"}

// String returns the verdict's name in metrics and in explain's output.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown verdict"
}

const (
	sendCodes      = 1<<Pass | 1<<Drop | 1<<Route | 1<<ValueInPlace | 1<<Edit | 1<<DeadLetter | 1<<Fail
	consumeCodes   = sendCodes &^ (1 << Route)
	partitionCodes = 1<<Pass | 1<<Route | 1<<Fail
)

// Allowed reports whether hook h may answer with c.
func (c Code) Allowed(h Hook) bool {
	if c >= codeReserved {
		return false
	}
	switch h {
	case OnSend:
		return sendCodes>>c&1 != 0
	case OnConsume:
		return consumeCodes>>c&1 != 0
	case Partition:
		return partitionCodes>>c&1 != 0
	}
	return false
}

// Verdict is one record's u64: bits 0-7 code, 8-15 flags, 16-31 reason, 32-63
// the argument. Zero is PASS, so that passing costs no write.
type Verdict uint64

// VerdictSize is the bytes of one verdict in the block.
const VerdictSize = 8

// PackVerdict builds a verdict.
func PackVerdict(c Code, flags uint8, reason uint16, arg uint32) Verdict {
	return Verdict(uint64(c) | uint64(flags)<<8 | uint64(reason)<<16 | uint64(arg)<<32)
}

// Code returns bits 0-7.
func (v Verdict) Code() Code { return Code(v) }

// Flags returns bits 8-15.
func (v Verdict) Flags() uint8 { return uint8(v >> 8) }

// Reason returns bits 16-31.
func (v Verdict) Reason() uint16 { return uint16(v >> 16) }

// Arg returns bits 32-63.
func (v Verdict) Arg() uint32 { return uint32(v >> 32) }

// Reasons that need no declaration. Declared ones count from ReasonFirst.
const (
	ReasonOther     uint16 = 0
	ReasonDuplicate uint16 = 1
	ReasonInvalid   uint16 = 2
	ReasonFiltered  uint16 = 3
	ReasonMissing   uint16 = 4
	ReasonFirst     uint16 = 16
)

// Op is one entry of an edit list.
type Op uint16

// The edits.
const (
	OpAddHeader     Op = 1
	OpRemoveHeaders Op = 2 // all of that key
	OpSetKey        Op = 3
	OpSetValue      Op = 4
	OpSetTopic      Op = 5
	OpSetTimestamp  Op = 6
	OpSetPartition  Op = 7
	OpRemoveHeader  Op = 8 // the i-th
)

// Edit list header {u32 n, u32 bytes} and entry {u16 op, u16 flags, i32 klen,
// i32 vlen, u32 total (8-aligned)}, then key and value bytes. A length of -1 is
// null. Topic names stand in the value; timestamps (i64), partitions (i32) and
// header indexes (u32) are values of 8, 4 and 4 bytes.
const (
	EditHeaderSize = 8
	EditEntrySize  = 16

	EditOp    = 0  // u16
	EditFlags = 2  // u16
	EditKLen  = 4  // i32
	EditVLen  = 8  // i32
	EditTotal = 12 // u32
)

// Answers of claim, and of state_get below zero.
const (
	ClaimConfirmed int32 = 0 // confirmed before
	ClaimNew       int32 = 1 // new, or already this record's own
	ClaimPending   int32 = 2 // owned by a record in flight
	ClaimRefused   int32 = -1

	StateNone     int32 = -1
	StateTooSmall int32 = -2
	StateRefused  int32 = -3
)

// Log levels.
const (
	LogDebug int32 = 0
	LogInfo  int32 = 1
	LogWarn  int32 = 2
	LogError int32 = 3
)

// Metric kinds.
const (
	MetricCounter   int32 = 0
	MetricHistogram int32 = 1
)

// Init block: 56 bytes, then the bytes that the offset/length pairs point at.
// Later minors append pairs; a reader takes only the pairs that it knows.
const (
	InitHeaderSize = 56

	InitMinor    = 0  // u32
	InitFlags    = 4  // u32
	InitLane     = 8  // u32
	InitLanes    = 12 // u32
	InitConfig   = 16 // u32 offset, u32 length: the plugin's table as JSON
	InitPlugin   = 24 // u32, u32: its name in the configuration
	InitChain    = 32 // u32, u32
	InitClientID = 40 // u32, u32
	InitTopics   = 48 // u32, u32: names, each a u32 length and its bytes
)

// Align8 rounds n up to a multiple of 8.
func Align8(n int) int { return (n + 7) &^ 7 }
