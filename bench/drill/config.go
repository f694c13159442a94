package drill

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/client"
)

// Config of a drill. Start from DefaultConfig.
type Config struct {
	Faults     []Fault
	Keys       int // of each topic, 16 bytes each
	ValueBytes int // of a value that is not a counter
	Deltas     int // between a fault and the key frame that finds it, at least
	Replicas   int // of each topic, one of which is lied to; the others are to be equal at every key frame
	// Broker is whose topics they are, which are deleted afterwards; zero: the drill starts one of its own.
	Broker Broker
	Prefix string // of the topics' names
	// Dir is where the drill makes its temporary directory; empty: the system's.
	Dir string
	// OnDrift is the replicas' policy.
	OnDrift client.Policy
	// Started and Found, where set, are called when the broker serves and the topics are filled, and after each fault.
	Started func(Setup)
	Found   func(Finding)
	// Logger is the broker's; nil: it is silent.
	Logger *slog.Logger
}

// Broker is one that runs.
type Broker struct {
	Kafka string // host:port
	State string // URL of the state plane
}

// Setup is what a drill begins with.
type Setup struct {
	KafkaAddr string
	Topics    []string
	Rows      int64 // of all topics
	Took      time.Duration
}

// ErrConfig wraps what Validate finds wrong.
var ErrConfig = errors.New("invalid drill")

// DefaultConfig has all faults at a size at which their cost can be told from a whole frame's.
func DefaultConfig() Config {
	return Config{Faults: Faults(), Keys: 100_000, ValueBytes: 100, Deltas: 1000, Replicas: 2, OnDrift: client.Repair}
}

// The bounds of a drill's Config.
const (
	KeysMin, KeysMax             = 100, 10_000_000
	ValueBytesMin, ValueBytesMax = 16, 64 << 10
	DeltasMin                    = 30
	ReplicasMin, ReplicasMax     = 2, 1000
)

// Validate names what cannot be.
func (c *Config) Validate() error {
	switch {
	case len(c.Faults) == 0:
		return fmt.Errorf("%w: no fault", ErrConfig)
	case slices.ContainsFunc(c.Faults, func(f Fault) bool { return !slices.Contains(Faults(), f) }):
		return fmt.Errorf("%w: faults %q, there are %q", ErrConfig, c.Faults, Faults())
	case c.Keys < KeysMin || c.Keys > KeysMax:
		return fmt.Errorf("%w: %d keys, want %d to %d", ErrConfig, c.Keys, KeysMin, KeysMax)
	case c.ValueBytes < ValueBytesMin || c.ValueBytes > ValueBytesMax:
		return fmt.Errorf("%w: values of %d bytes, want %d to %d", ErrConfig, c.ValueBytes, ValueBytesMin, ValueBytesMax)
	case c.Deltas < DeltasMin || c.Deltas > c.Keys/2:
		return fmt.Errorf("%w: %d deltas, want %d to half the number of keys, %d", ErrConfig, c.Deltas, DeltasMin, c.Keys/2)
	case c.Replicas < ReplicasMin || c.Replicas > ReplicasMax:
		return fmt.Errorf("%w: %d replicas of a topic, want %d to %d", ErrConfig, c.Replicas, ReplicasMin, ReplicasMax)
	}
	return nil
}
