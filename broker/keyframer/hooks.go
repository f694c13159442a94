package keyframer

import (
	"context"
	"fmt"
	"math"

	"github.com/keyframelog/keyframe/broker/topics"
)

// Hooks follows a registry's topics: key-framed ones are folded, deleted ones removed.
func (k *Keyframer) Hooks() topics.Hooks {
	return topics.Hooks{Created: k.created, Deleted: k.deleted, Changed: k.changed, Grown: k.grown}
}

func (k *Keyframer) created(t *topics.Topic) {
	if !t.Config().KeyFramed && !hasRows(t) {
		return
	}
	if err := k.Add(specOf(t), settingsOf(t.Config())); err != nil {
		k.cfg.Logger.Error("a topic is not folded", "topic", t.Name, "error", err)
	}
}

// hasRows says whether a topic that is not key-framed was once: its rows stay readable.
func hasRows(t *topics.Topic) bool {
	for _, p := range t.Partitions {
		if b := p.Log.Bounds(); b.LogStart < b.DeltaStart {
			return true
		}
	}
	return false
}

func (k *Keyframer) deleted(t *topics.Topic) {
	if known, ok := k.Topic(t.Name); !ok || known.ID != t.ID {
		return
	}
	if err := k.Remove(k.ctx, t.Name); err != nil {
		k.cfg.Logger.Error("the tables of a deleted topic stay until the next start", "topic", t.Name, "error", err)
	}
}

func (k *Keyframer) changed(t *topics.Topic) {
	known, ok := k.Topic(t.Name)
	if ok && known.Fold != t.Config().Fold && t.Config().KeyFramed {
		k.deleted(t) // allowed while the topic is empty only
		ok = false
	}
	if !ok {
		k.created(t)
		return
	}
	if known.Settings().Paused && t.Config().KeyFramed {
		// Retention may have taken what the fold would have gone on with: it is opened as at a start.
		if err := k.reopen(specOf(t), settingsOf(t.Config())); err != nil {
			k.cfg.Logger.Error("a topic is not folded again", "topic", t.Name, "error", err)
		}
		return
	}
	if err := k.Configure(t.Name, settingsOf(t.Config())); err != nil {
		k.cfg.Logger.Error("settings not changed", "topic", t.Name, "error", err)
	}
}

func (k *Keyframer) grown(t *topics.Topic) {
	if known, ok := k.Topic(t.Name); !ok || known.ID != t.ID {
		k.created(t)
		return
	}
	if err := k.Grow(specOf(t)); err != nil {
		k.cfg.Logger.Error("the new partitions of a topic are not folded", "topic", t.Name, "error", err)
	}
}

func specOf(t *topics.Topic) TopicSpec {
	spec := TopicSpec{Name: t.Name, ID: t.ID, Fold: t.Config().Fold}
	for _, p := range t.Partitions {
		spec.Partitions = append(spec.Partitions, PartitionSpec{
			Index: p.Index, Ordinal: p.Ordinal, Incarnation: p.Incarnation(), Log: p.Log, RenewIncarnation: p.RenewIncarnation,
		})
	}
	return spec
}

func settingsOf(c *topics.Config) Settings {
	return Settings{
		Paused:              !c.KeyFramed,
		IntervalRecords:     c.IntervalRecords,
		IntervalBytes:       c.IntervalBytes,
		IntervalMs:          c.IntervalMs,
		Retain:              c.Retain,
		DeltaRetentionMs:    c.DeltaRetentionMs,
		DeltaRetentionBytes: c.DeltaRetentionBytes,
		MinCompactionLagMs:  c.MinCompactionLagMs,
		MaxCompactionLagMs:  c.MaxCompactionLagMs % math.MaxInt64, // the highest is none
		RetentionMs:         limitOf(c.Delete, c.RetentionMs),
		RetentionBytes:      limitOf(c.Delete, c.RetentionBytes),
		DeleteRetentionMs:   c.DeleteRetentionMs,
		StaleFetchError:     c.StaleFetch == topics.StaleFetchError,
	}
}

// limitOf returns a limit of cleanup.policy=delete, or that there is none.
func limitOf(applies bool, limit int64) int64 {
	if !applies {
		return -1
	}
	return limit
}

// Rows is Partition.Rows for the Kafka fetch handler.
func (k *Keyframer) Rows(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, maxBytes int, dst []byte) (
	_ []byte, next int64, err error,
) {
	partition, err := k.partitionOf(t, p)
	if err != nil {
		return dst, from, err
	}
	return partition.Rows(ctx, from, maxBytes, dst)
}

// EachRow is Partition.EachRow for the Kafka handler's look-ups by time.
func (k *Keyframer) EachRow(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, visit func(offset, timestamp int64) (more bool)) (
	n1 int64, err error,
) {
	partition, err := k.partitionOf(t, p)
	if err != nil {
		return 0, err
	}
	return partition.EachRow(ctx, from, visit)
}

// RowBytes is the size of the keys and values of the rows below the delta start offset; 0 where there are none, or the table cannot be
// read.
func (k *Keyframer) RowBytes(t *topics.Topic, p *topics.Partition) int64 {
	partition, err := k.partitionOf(t, p)
	if err != nil {
		return 0
	}
	table, err := partition.Table()
	if err != nil {
		return 0
	}
	frame, err := table.Frame(p.Log.Bounds().DeltaStart)
	if err != nil { // a trim in between: the next look finds it
		return 0
	}
	return frame.Bytes
}

func (k *Keyframer) partitionOf(t *topics.Topic, p *topics.Partition) (*Partition, error) {
	known, ok := k.Topic(t.Name)
	if !ok || known.ID != t.ID {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, t.Name)
	}
	return known.Partition(p.Index)
}
