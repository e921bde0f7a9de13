// Package ops is the work that plugins do in the benchmarks, as plain functions.
// The native side runs them, and so does every guest written in Go; those in C
// do the same in guests/ops.h.
package ops

// Op is what is done to a record.
type Op string

// The operations.
const (
	// Pass takes the whole record over and lets it be.
	Pass Op = "pass"
	// Route chooses the partition as Kafka does: murmur2 of the key.
	Route Op = "route"
	// Dedup drops a record whose key is known.
	Dedup Op = "dedup"
	// Rewrite gives the value a new member at its front, so that it grows.
	Rewrite Op = "rewrite"
	// Mask replaces the top-level member "email" of a JSON value by "***".
	Mask Op = "mask"
)

// All lists the operations in the order of the tables.
func All() []Op { return []Op{Pass, Route, Dedup, Rewrite, Mask} }

// Partitions is the number of partitions that Route chooses from.
const Partitions = 12

// Number gives an operation a number where a text would cost more, from 0.
func Number(op Op) int {
	for i, o := range All() {
		if o == op {
			return i
		}
	}
	return -1
}

// NeedsKey and NeedsValue say what an operation looks at. Nobody is made to copy
// more into a guest.
func (op Op) NeedsKey() bool { return op == Pass || op == Route || op == Dedup }

// NeedsValue: see NeedsKey.
func (op Op) NeedsValue() bool { return op == Pass || op == Rewrite || op == Mask }

// Code is a verdict, with the numbers of Klamm's ABI.
type Code uint32

// The verdicts.
const (
	Passed   Code = 0
	Dropped  Code = 1
	Routed   Code = 2
	Replaced Code = 4 // the value
)

// Result is what became of a record.
type Result struct {
	Code      Code
	Partition int32
	Value     []byte // of Replaced; valid until the next call
}

// Partition is the partition of a key: Kafka's murmur2, sign bit cleared.
func Partition(key []byte) int32 { return int32(murmur2(key) & 0x7fffffff % Partitions) }

func murmur2(key []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	whole := len(key) &^ 3
	for i := 0; i < whole; i += 4 {
		w := key[i : i+4 : i+4]
		k := uint32(w[0]) | uint32(w[1])<<8 | uint32(w[2])<<16 | uint32(w[3])<<24
		k *= m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch rest := key[whole:]; len(rest) {
	case 3:
		h ^= uint32(rest[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(rest[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(rest[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// inserted is the member that Rewrite adds.
const inserted = `{"seen":true,`

// AppendRewritten appends the object doc with another member at its front.
func AppendRewritten(dst, doc []byte) []byte {
	dst = append(dst, inserted...)
	return append(dst, doc[1:]...)
}

const (
	secret  = "email"
	covered = `"***"`
)

// AppendMasked appends doc with the secret covered, or returns ok false when doc
// has none.
func AppendMasked(dst, doc []byte) (masked []byte, ok bool) {
	start, end, ok := find(doc)
	if !ok {
		return dst, false
	}
	dst = append(dst, doc[:start]...)
	dst = append(dst, covered...)
	return append(dst, doc[end:]...), true
}

// find returns where the value of the top-level member lies. It takes doc for
// JSON and does not prove it.
func find(doc []byte) (start, end int, ok bool) {
	depth := 0
	for i := 0; i < len(doc); i++ {
		switch doc[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			from := i + 1
			i = stringEnd(doc, from)
			if depth != 1 || i-from != len(secret) || string(doc[from:i]) != secret {
				continue
			}
			if v := skipSpace(doc, i+1); v < len(doc) && doc[v] == ':' {
				v = skipSpace(doc, v+1)
				return v, valueEnd(doc, v), true
			}
		}
	}
	return 0, 0, false
}

// stringEnd returns where the closing quote of the string from i on is.
func stringEnd(doc []byte, i int) int {
	for ; i < len(doc) && doc[i] != '"'; i++ {
		if doc[i] == '\\' {
			i++
		}
	}
	return i
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && doc[i] <= ' ' {
		i++
	}
	return i
}

// valueEnd returns where the value at i ends.
func valueEnd(doc []byte, i int) int {
	for depth := 0; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			i = stringEnd(doc, i+1)
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return min(i, len(doc))
}
