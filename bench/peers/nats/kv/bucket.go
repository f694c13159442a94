// Package kv is a bucket of JetStream's key-value store: who writes it, and who keeps a copy of it.
//
//	b, err := kv.Create(ctx, url, "bench", server.SyncDefault)
//	defer b.Drop(ctx)
//	source, err := keyed.SourceTo(shape, b.Fill(kv.PublishFast))
//	follower := b.Follow(kv.ViaWatch) // a keyed.Follower
//
// A bucket is a stream KV_bucket with a subject $KV.bucket.key for each key, of which it keeps the last message.
package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyframelog/keyframe/bench/peers/nats/server"
)

// dropMax is how long the server has to delete a bucket.
const dropMax = time.Minute

// Bucket is one that is there.
type Bucket struct {
	url, name string
	sync      server.Sync
	nc        *nats.Conn
	js        jetstream.JetStream
}

// Create makes a bucket as clients do, in files, with one value kept of each key, and allows batches to be published to it.
func Create(ctx context.Context, url, name string, sync server.Sync) (b *Bucket, err error) {
	b = &Bucket{url: url, name: name, sync: sync}
	if b.nc, err = nats.Connect(url); err != nil {
		return nil, err
	}
	if b.js, err = jetstream.New(b.nc); err == nil {
		err = b.create(ctx)
	}
	if err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("bucket %s: %w", name, err)
	}
	return b, nil
}

func (b *Bucket) create(ctx context.Context) error {
	if _, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: b.name, History: 1, Storage: jetstream.FileStorage}); err != nil {
		return err
	}
	stream, err := b.js.Stream(ctx, b.stream())
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	cfg.AllowBatchPublish = true
	if b.sync != server.SyncAsync {
		cfg.AllowAtomicPublish = true
		_, err = b.js.UpdateStream(ctx, cfg)
		return err
	}
	// How a stream persists cannot be changed: it is made anew.
	if err := b.js.DeleteStream(ctx, cfg.Name); err != nil {
		return err
	}
	cfg.PersistMode = jetstream.AsyncPersistMode
	_, err = b.js.CreateStream(ctx, cfg)
	return err
}

func (b *Bucket) stream() string { return "KV_" + b.name }

// prefix is what stands before a key in a subject.
func (b *Bucket) prefix() string { return "$KV." + b.name + "." }

// Stored is how many messages the bucket holds, and how many were ever put.
func (b *Bucket) Stored(ctx context.Context) (held, put uint64, err error) {
	stream, err := b.js.Stream(ctx, b.stream())
	if err != nil {
		return 0, 0, err
	}
	state := stream.CachedInfo().State
	return state.Msgs, state.LastSeq, nil
}

// Drop deletes the bucket, also where the run was interrupted, and ends its connection.
func (b *Bucket) Drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropMax)
	defer cancel()
	defer b.nc.Close()
	if err := b.js.DeleteKeyValue(ctx, b.name); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("bucket %s: %w", b.name, err)
	}
	return nil
}
