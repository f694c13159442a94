package kv_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/peers/nats/server"
)

func bucket(t *testing.T) *kv.Bucket {
	t.Helper()
	s, err := server.Serve(t.TempDir(), server.SyncDefault)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	b, err := kv.Create(t.Context(), s.URL, "b", server.SyncDefault)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Drop(t.Context())) })
	_, err = kv.Create(t.Context(), s.URL, "no bucket", server.SyncDefault)
	require.Error(t, err)
	return b
}

// A copy is what was put, at its beginning and each time that it goes on.
func TestCopiesAreWhatWasPut(t *testing.T) {
	b := bucket(t)
	for _, publish := range kv.Publishes() {
		source, err := keyed.SourceTo(load.Shape{ValueBytes: 10, Keys: 300}, b.Fill(publish))
		require.NoError(t, err)
		require.NoError(t, source.Each(t.Context(), func(int64) {}))
		followers := []keyed.Follower{b.Follow(kv.ViaWatch), b.Follow(kv.ViaConsumer)}
		for round := range 3 {
			if round > 0 { // the last key of those before is not among them
				require.NoError(t, source.UpdateSome(t.Context(), 1000, 30, func(int64) {}))
			}
			ends, err := b.Ends(t.Context())
			require.NoError(t, err)
			for _, f := range followers {
				require.NoError(t, f.CatchUp(t.Context(), ends))
				require.NoError(t, f.CatchUp(t.Context(), ends), "there is nothing to read")
				got, err := f.Digest()
				require.NoError(t, err)
				require.Equal(t, source.Digest(), got)
			}
		}
		require.EqualValues(t, 2300, source.Acked())
		for _, f := range followers {
			require.EqualValues(t, 300+30+30, f.Cost().Records, "each key once, whenever it goes on")
			require.Positive(t, f.Cost().Bytes)
		}
	}
	held, put, err := b.Stored(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 300, held)
	require.EqualValues(t, len(kv.Publishes())*2300, put)
}

// A put that the server refuses is not counted, and its reason told.
func TestRefusedPuts(t *testing.T) {
	b := bucket(t)
	for _, publish := range kv.Publishes() {
		var acked atomic.Int64
		err := b.Put(t.Context(), publish, func(i int64) *kgo.Record {
			if i == 20 {
				return nil
			}
			return &kgo.Record{Key: []byte("not a key"), Value: make([]byte, 2<<20)} // more than a message may have
		}, &acked)
		require.Error(t, err, "%q", publish)
		require.Zero(t, acked.Load())
	}
	var acked atomic.Int64
	require.NoError(t, b.Put(t.Context(), kv.PublishFast, func(int64) *kgo.Record { return nil }, &acked), "nothing to put")
}
