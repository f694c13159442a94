// Package workload is what `keyframe bench` measures of a broker, measured of JetStream's key-value store: produce, bootstrap and resync, with the same
// figures, so that bench/compare can put them beside ours.
//
//	cfg := workload.DefaultBootstrap()
//	r, err := cfg.Run(ctx, peer, bench.Silent)
package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/peers/nats/server"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Workload is a config that can be run.
type Workload interface {
	// Run measures. Errors: a config that makes no sense, and whatever keeps it from being done whole.
	Run(ctx context.Context, p Peer, progress bench.Progress) (*result.Result, error)
	// Syncs is what the server is to do before it acknowledges.
	Syncs() server.Sync
}

// Peer is a server that runs.
type Peer struct {
	URL    string
	Dir    string         // of its files
	Target *target.Target // its name and process; there is no Kafka client behind it
}

// NewPeer is one with its own process.
func NewPeer(s *server.Process) Peer {
	p := Peer{URL: s.URL, Dir: s.Dir, Target: Target()}
	p.Target.Brokers, p.Target.Process = []string{s.URL}, s.Process
	return p
}

// Target is what a result calls it.
func Target() *target.Target {
	return &target.Target{Config: target.Config{Name: "jetstream-kv"}, Software: server.Software()}
}

// Bucket is what every workload makes for itself, and drops. Its Config embeds it.
type Bucket struct {
	Name    string      `json:"bucket"`
	Sync    server.Sync `json:"sync"`
	Publish kv.Publish  `json:"publish"`
}

// Syncs implements Workload.
func (b Bucket) Syncs() server.Sync { return b.Sync }

// Validate refuses what there is not.
func (b Bucket) Validate() error {
	switch {
	case b.Name == "":
		return errors.New("the bucket has no name")
	case !slices.Contains(server.Syncs(), b.Sync):
		return fmt.Errorf("sync %q: always, async or nothing", b.Sync)
	case !slices.Contains(kv.Publishes(), b.Publish):
		return fmt.Errorf("publish %q: fast, atomic, async or nothing", b.Publish)
	case b.Publish == kv.PublishAtomic && b.Sync == server.SyncAsync:
		return errors.New("publish atomic: not with sync async, the server does not allow it")
	}
	return nil
}

// run has a workload measured on a bucket of its own, which is dropped afterwards, also where that was interrupted. workload is its name, and cfg what it was
// configured with.
func (b Bucket) run(ctx context.Context, p Peer, workload string, cfg interface{ Validate() error }, on func(*kv.Bucket, *result.Result) error) (
	r *result.Result, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r = result.New(workload, cfg)
	r.Machine.Client = clientVersion()
	bucket, err := kv.Create(ctx, p.URL, b.Name, b.Sync)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bucket.Drop(ctx)) }()
	if err := on(bucket, r); err != nil {
		return nil, err
	}
	return r.End(p.Target.Describe(b.Sync.Durability())), nil
}

// stored holds what the bucket has against what was acknowledged: a put that is lost or doubled fails the run.
func stored(ctx context.Context, bucket *kv.Bucket, source *keyed.Source) error {
	held, put, err := bucket.Stored(ctx)
	if err != nil {
		return err
	}
	if keys := source.Digest().Count; int64(put) != source.Acked() || int64(held) != int64(keys) {
		return fmt.Errorf("%d puts of %d keys were acknowledged, the bucket has had %d and holds %d", source.Acked(), keys, put, held)
	}
	return nil
}
