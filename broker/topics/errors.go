package topics

import "errors"

var (
	// ErrExists: a topic of that name is there.
	ErrExists = errors.New("topic exists")
	// ErrNotFound: no topic of that name or id.
	ErrNotFound = errors.New("unknown topic")
	// ErrPolicy: the topic's cleanup.policy does not allow it.
	ErrPolicy = errors.New("policy violation")
	// ErrClosed: the registry takes no more changes.
	ErrClosed = errors.New("topic registry is closed")
)

// NameError refuses a topic's name.
type NameError struct {
	Name   string
	Reason string
}

func (e *NameError) Error() string { return e.Reason }

// PartitionsError refuses a number of partitions.
type PartitionsError struct{ Reason string }

func (e *PartitionsError) Error() string { return e.Reason }

// ConfigError refuses a config: an unknown name, a bad value, or a value that this broker does not honour.
type ConfigError struct {
	Name   string
	Reason string
}

func (e *ConfigError) Error() string { return e.Reason }
