package client

import (
	"context"

	"github.com/keyframelog/keyframe/proto/fold"
)

// FakeTopic is a topic in memory for examples, with the partition and the state plane that it needs.
type FakeTopic struct {
	log   *fakeLog
	plane *fakePlane
	stop  []func()
}

// NewFakeTopic makes a topic with one partition and no records.
func NewFakeTopic() *FakeTopic {
	f := &FakeTopic{log: newFakeLog(fold.JSONMergePatch, 1)}
	f.plane = newFakePlane(f, f.log)
	return f
}

// Write appends one batch: key, value, key, value...; "-" deletes.
func (f *FakeTopic) Write(kv ...string) (end int64) { return f.log.append(0, kv...) }

// Cut makes a key frame.
func (f *FakeTopic) Cut() { f.log.cut(0) }

// Open is OpenReplica on this topic.
func (f *FakeTopic) Open(ctx context.Context, cfg Config) (*Replica, error) {
	cfg.Topic, cfg.StateURL = f.log.topic, f.plane.url
	return openReplica(ctx, cfg.withDefaults(), newFakeTail(f.log))
}

// Cleanup collects what Close undoes.
func (f *FakeTopic) Cleanup(fn func()) { f.stop = append(f.stop, fn) }

// Close stops the state plane.
func (f *FakeTopic) Close() {
	for _, fn := range f.stop {
		fn()
	}
}
