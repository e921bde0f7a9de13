package plugin

import (
	"strings"

	"github.com/klamm-io/klamm/sdk/abi"
)

// LogDebug writes a line to the host's log. The parts are joined as they are.
// The host cuts lines at 1 KiB and limits their rate; records of a call that is
// repeated are logged again. Do not log payloads.
func LogDebug(parts ...string) { logLine(abi.LogDebug, parts) }

// LogInfo is LogDebug at level info.
func LogInfo(parts ...string) { logLine(abi.LogInfo, parts) }

// LogWarn is LogDebug at level warn.
func LogWarn(parts ...string) { logLine(abi.LogWarn, parts) }

// LogError is LogDebug at level error.
func LogError(parts ...string) { logLine(abi.LogError, parts) }

func logLine(level int32, parts []string) {
	importLog(level, []byte(cut(strings.Join(parts, ""), abi.LogLineMax)))
}
