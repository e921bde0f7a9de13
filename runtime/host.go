package runtime

// Host is what the imports of an instance reach. Its methods are called only
// while a call of that instance runs, on the goroutine of that call. Log and
// DefineMetric may be called at the same time from another goroutine, for the
// instance of a new generation that is made aside. Byte slices are views of guest
// memory: copy what is kept.
type Host interface {
	// Log takes one line, cut to 1 KiB and escaped. Limiting the rate is the
	// Host's job.
	Log(level int32, line []byte)
	// DefineMetric declares a metric; it is called during initialisation only,
	// once for each metric of each instance, so the same name comes again.
	DefineMetric(kind int32, name string) (id int32, err error)
	AddMetric(id int32, delta int64)
	ObserveMetric(id int32, v float64)
	// Claim claims id on behalf of the record with that index in the running
	// block and returns one of abi.Claim*. A ttlMS <= 0 means no time limit.
	Claim(index int, id []byte, ttlMS int64) int32
	// StateGet's value is copied into the guest before anything else is called.
	StateGet(key []byte) (value []byte, ok bool)
	StatePut(key, value []byte, ttlMS int64) error
	// Value and Headers return what the block left out of a record because it was
	// too large or not asked for.
	Value(index int) []byte
	Headers(index int, each func(key string, value []byte))
}

// Rewinder is a Host that keeps what a call did until its verdicts are accepted.
type Rewinder interface {
	// Rewind says that what the guest did so far in the running Judge is void: it
	// is called again for the same records, with more room for its edits.
	Rewind()
}

// KeyClaimer is a Host that claims the keys of a whole block at once.
type KeyClaimer interface {
	// ClaimKeys claims the key of each record of the running block that has one, in
	// order. It sets bit i of mask, which is zero, when the key of record i is new,
	// and returns the number of those, or abi.ClaimRefused.
	ClaimKeys(b *Block, ttlMS int64, mask []byte) (fresh int32)
}

// Grant is a set of capabilities. A module that imports what its plugin was
// not granted is refused when it is loaded.
type Grant uint16

// The capabilities. Values and headers that were left out of a block need no
// grant.
const (
	GrantLog     Grant = 1 << iota // log, and lines written to stdout and stderr
	GrantMetrics                   // metric_def, metric_add, metric_observe
	GrantState                     // claim, claim_batch, state_get, state_put
	GrantClock                     // now_ns
	GrantRandom                    // random
	GrantHMAC                      // hmac with the secrets of the configuration
	grantEnd
)

// GrantAll is every capability.
const GrantAll = grantEnd - 1

var grantNames = [...]string{"log", "metrics", "state", "clock", "random", "hmac"}

// ParseGrant returns the capability of that name in configuration and manifests.
func ParseGrant(name string) (Grant, bool) {
	for i, n := range grantNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Has reports whether g holds all of other.
func (g Grant) Has(other Grant) bool { return g&other == other }

// Names returns the names of the capabilities in g.
func (g Grant) Names() []string {
	var out []string
	for i, n := range grantNames {
		if g>>i&1 != 0 {
			out = append(out, n)
		}
	}
	return out
}
