package plugin

import "github.com/klamm-io/klamm/sdk/abi"

// ReasonCode is why a record was dropped, refused or dead-lettered: a short name
// by which it is counted.
type ReasonCode uint16

// The reasons that need no declaration.
const (
	Other     = ReasonCode(abi.ReasonOther)
	Duplicate = ReasonCode(abi.ReasonDuplicate)
	Invalid   = ReasonCode(abi.ReasonInvalid)
	Filtered  = ReasonCode(abi.ReasonFiltered)
	Missing   = ReasonCode(abi.ReasonMissing)
)

var declareReasons func()

// Reason declares a reason of the plugin's own, while the program starts or in
// OnInit. At most 64 can be declared; those beyond count as Other.
func Reason(name string) ReasonCode {
	for i, n := range reg.reasons {
		if n == name {
			return ReasonCode(abi.ReasonFirst) + ReasonCode(i)
		}
	}
	if len(reg.reasons) == abi.ReasonsMax {
		return Other
	}
	declareReasons = defineReasons
	reg.reasons = append(reg.reasons, name)
	return ReasonCode(abi.ReasonFirst) + ReasonCode(len(reg.reasons)-1)
}

func defineReasons() {
	for i, n := range reg.reasons {
		importDefineReason(abi.ReasonFirst+uint16(i), []byte(n))
	}
}
