package topics

import (
	"context"
	"sync/atomic"

	"github.com/keyframelog/keyframe/storage/log"
)

// Topic is one life of a topic: a topic that is deleted and created again is another Topic with another ID. Everything
// but the configuration, and the incarnations of its logs, is immutable: a topic that grows is another Topic with the same ID, the
// same configuration and more partitions.
type Topic struct {
	ID         [16]byte
	Name       string
	CreatedMs  int64
	Partitions []*Partition // by index

	config *atomic.Pointer[Config] // shared, as gone, with the Topic of before it grew
	gone   chan struct{}
}

// Config returns the topic's configuration of this moment. The value is immutable: hold it for the length of one request,
// not longer.
func (t *Topic) Config() *Config { return t.config.Load() }

// configure gives the topic, and the logs of its partitions, a configuration.
func (t *Topic) configure(c *Config) (before *Config) {
	for _, p := range t.Partitions {
		p.Log.ShowUnsynced(c.ShowUnsynced())
	}
	return t.config.Swap(c)
}

// Partition returns the partition with the index, or nil.
func (t *Topic) Partition(index int32) *Partition {
	if index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[index]
}

// Gone is closed when the topic has been deleted.
func (t *Topic) Gone() <-chan struct{} { return t.gone }

// Partition is one partition of a topic and its log.
type Partition struct {
	Index   int32
	Ordinal uint32 // the catalog's number of this partition, never reused
	Log     *log.Partition

	renew func() ([16]byte, error) // the catalog's RenewIncarnation
}

// Incarnation identifies this life of the partition's log: a position means something within one incarnation only.
func (p *Partition) Incarnation() [16]byte { return p.Log.Incarnation() }

// RenewIncarnation gives the partition another incarnation, durably, because readable records of it are known to be lost. Hooks may
// call it.
func (p *Partition) RenewIncarnation(ctx context.Context) ([16]byte, error) {
	return p.Log.RenewIncarnation(ctx, p.renew)
}
