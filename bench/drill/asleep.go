package drill

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
)

const (
	// changesAsleep is how often a key changes while the replica is asleep: what it is told has each key once.
	changesAsleep = 4
	// deletedAsleep is which part of these keys is deleted in the end.
	deletedAsleep = 8

	retentionNone    = 1 // ms
	retentionDefault = 24 * 60 * 60 * 1000
)

// sleep closes a replica that keeps its rows on disk, lets the log go on and be trimmed, and opens the replica again.
func (f *field) sleep(ctx context.Context) (found Finding, err error) {
	x := f.subject(f.s.kafkaAddr(), client.Dir(filepath.Join(f.s.dir, "asleep")))
	if err := x.open(ctx); err != nil {
		return found, err
	}
	position, err := f.s.end(ctx, f.topic)
	if err == nil {
		err = x.WaitFor(ctx, 0, position)
	}
	if err := errors.Join(err, x.close()); err != nil {
		return found, err
	}
	keys, err := f.goOn(ctx, position)
	if err != nil {
		return found, err
	}
	found = Finding{Fault: Asleep, Topic: f.topic, Injected: position, By: ByHandshake, Harmed: int64(len(keys))}
	mark, before, awake := x.mark(), x.meter.bytes.Load(), time.Now()
	if err := x.open(ctx); err != nil {
		return found, err
	}
	f.others = append(f.others, x)
	asked, at, err := x.awaitEvent(ctx, mark, client.Resumed)
	if err != nil {
		return found, err
	}
	done, _, err := x.awaitEvent(ctx, at, client.CaughtUp)
	if err != nil {
		return found, err
	}
	found.Detected, found.At, found.After = true, done.event.Offset, asked.at.Sub(awake)
	found.In, found.Keys, found.Bytes = done.at.Sub(asked.at), done.event.Rows, done.bytes-before
	found.Exact = found.Keys == found.Harmed
	if found.WholeFrame, err = f.s.wholeFrame(ctx, f.topic, done.event.Offset); err != nil {
		return found, err
	}
	found.Repaired, err = f.equalAtNext(ctx, x)
	return found, err
}

// goOn deletes some keys and changes others over and over, until the log has been trimmed above an offset. It returns the keys.
func (f *field) goOn(ctx context.Context, above int64) (keys []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := f.s.setRetention(ctx, f.topic, retentionNone); err != nil {
		return nil, err
	}
	for range max(f.cfg.Deltas/changesAsleep, deletedAsleep) {
		keys = append(keys, f.nextKey())
	}
	gone := len(keys) / deletedAsleep
	if err := f.round(ctx, keys[:gone], f.delete); err != nil {
		return nil, err
	}
	for rounds, trimmed := 0, false; rounds < changesAsleep || !trimmed; rounds++ {
		if err := f.round(ctx, keys[gone:], f.change); err != nil {
			return nil, err
		}
		start, err := f.s.deltaStart(ctx, f.topic)
		if err != nil {
			return nil, err
		}
		trimmed = start > above
	}
	return keys, f.s.setRetention(ctx, f.topic, retentionDefault)
}

// round makes a delta for each key, and has a key frame cut behind them, which is what a trim goes to once there are more.
func (f *field) round(ctx context.Context, keys []string, make func(key string) *kgo.Record) error {
	for part := range slices.Chunk(keys, f.perBatch()) {
		records := []*kgo.Record{}
		for _, key := range part {
			records = append(records, make(key))
		}
		if _, err := f.send(ctx, f.producer, records); err != nil {
			return err
		}
	}
	_, err := f.s.cut(ctx, f.topic)
	return err
}
