package certificates

import (
	"cmp"
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// slogCore writes what certmagic logs to our log. What it calls information is
// its inner life, and goes to debug: we log what came of it.
type slogCore struct {
	logger *slog.Logger
	fields []zapcore.Field
}

func newZap(logger *slog.Logger) *zap.Logger { return zap.New(&slogCore{logger: logger}) }

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c *slogCore) Enabled(l zapcore.Level) bool {
	return l != zapcore.DebugLevel && c.logger.Enabled(context.Background(), slogLevel(l))
}

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{c.logger, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *slogCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	var attrs []slog.Attr
	for _, list := range [][]zapcore.Field{c.fields, fields} {
		for _, f := range list {
			f.AddTo(values)
			if v, ok := values.Fields[f.Key]; ok {
				attrs = append(attrs, slog.Any(f.Key, v))
				delete(values.Fields, f.Key)
			}
		}
	}
	// A part that has no name leaves a dot in front of those below it.
	name := cmp.Or(strings.TrimPrefix(e.LoggerName, "."), "certificates")
	c.logger.LogAttrs(context.Background(), slogLevel(e.Level), name+": "+e.Message, attrs...)
	return nil
}

func (c *slogCore) Sync() error { return nil }
