package broker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kfake"
)

// logger hands kfake's lines on to slog. kfake logs every request at info, so
// that its levels are one step lower here.
type logger struct{ l *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	}
	if !l.l.Enabled(context.Background(), to) {
		return
	}
	l.l.Log(context.Background(), to, "embedded broker", "line", fmt.Sprintf(format, args...))
}
