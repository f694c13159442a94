package configs

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/keyframelog/keyframe/broker/topics"
)

// rootLogger is the only logger. Its level lasts as long as the process, as Kafka's do.
const rootLogger = "root"

var levels = [...]struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn},
	{"ERROR", slog.LevelError}, {"FATAL", slog.LevelError + 4},
}

func (s *Store) describeLogger(node string) ([]Value, error) {
	if err := checkNode(node, false); err != nil {
		return nil, err
	}
	name := levels[0].name
	for _, l := range levels {
		if s.opts.LogLevel.Level() >= l.level {
			name = l.name
		}
	}
	return []Value{{Name: rootLogger, Value: &name, Source: SourceLogger, Doc: "The level from which on the broker logs."}}, nil
}

func (s *Store) alterLogger(node string, changes []topics.Change, validateOnly bool) error {
	if err := checkNode(node, false); err != nil {
		return err
	}
	level := s.opts.LogLevel.Level()
	for _, c := range changes {
		switch {
		case c.Op == topics.OpAppend || c.Op == topics.OpSubtract:
			return refuse("%s operation is not allowed for the BROKER_LOGGER resource", c.Op)
		case c.Name != rootLogger:
			return &topics.ConfigError{Name: c.Name, Reason: fmt.Sprintf("Logger %s does not exist! There is one, %s", c.Name, rootLogger)}
		case c.Op == topics.OpDelete:
			return refuse("Removing the log level of the %s logger is not allowed", rootLogger)
		}
		found := false
		for _, l := range levels {
			if l.name == c.Value {
				level, found = l.level, true
			}
		}
		if !found {
			return &topics.ConfigError{Name: c.Name, Reason: fmt.Sprintf(
				"Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s", c.Name, c.Value, levelNames())}
		}
	}
	if !validateOnly {
		s.opts.LogLevel.Set(level)
	}
	return nil
}

func levelNames() string {
	var names []string
	for _, l := range levels {
		names = append(names, l.name)
	}
	return strings.Join(names, ", ")
}
