package client

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

var update = flag.Bool("update", false, "write the golden file")

func goldenDirState() dirState {
	s := dirState{Version: dirStateVersion, Topic: "files", Name: "host-42-0123456789ab"}
	p := newDirPartition(4, table.Identity{TopicID: [16]byte{1, 15: 2}, Partition: 1, Incarnation: [16]byte{3, 15: 4}, Fold: fold.JSONMergePatch})
	d := digest.Digest{Count: 2, Sum: digest.SumFromBytes([32]byte{7, 31: 8})}
	p.Verified = []dirPoint{newDirPoint(verifiedCut{point{30, d, 10}, 1_700_000_000_000}), newDirPoint(verifiedCut{point{20, digest.Digest{}, 0}, 0})}
	s = s.with(p)
	return s.with(newDirPartition(1<<31, table.Identity{TopicID: [16]byte{1, 15: 2}, Incarnation: [16]byte{5}, Fold: fold.LastValue}))
}

func TestDirStateGolden(t *testing.T) {
	const path = "testdata/replica.json"
	got, err := goldenDirState().encode()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "the format changed: that needs a new version")
	s, err := decodeDirState(want)
	require.NoError(t, err)
	require.Equal(t, goldenDirState(), s)
	unchecked, err := os.ReadFile("testdata/replica-2.json")
	require.NoError(t, err)
	former, err := decodeDirState(unchecked)
	require.NoError(t, err)
	require.Equal(t, s, former, "the checksum may be missing")
	points, err := s.Partitions[0].cuts()
	require.NoError(t, err)
	require.Equal(t, int64(30), points[0].offset)
	require.Equal(t, []int64{1_700_000_000_000, 0}, []int64{points[0].foundMs, points[1].foundMs}, "the time may be missing")
	require.Equal(t, int64(2), points[0].digest.Count)
	require.Equal(t, [32]byte{7, 31: 8}, points[0].digest.Sum.Bytes())
}

// A bit that has flipped is found, wherever it is.
func TestDirStateIsChecked(t *testing.T) {
	sound, err := goldenDirState().encode()
	require.NoError(t, err)
	want, err := decodeDirState(sound)
	require.NoError(t, err)
	for i := range len(sound) * 8 {
		b := slices.Clone(sound)
		b[i/8] ^= 1 << (i % 8)
		if s, err := decodeDirState(b); err == nil {
			require.Equal(t, want, s, "byte %d", i/8) // of the checksum's own name
		}
	}
}

// A directory that was written before replicas had names is opened, gets one and keeps it.
func TestDirStateOfVersion1(t *testing.T) {
	old, err := os.ReadFile("testdata/replica-1.json")
	require.NoError(t, err)
	s, err := decodeDirState(old)
	require.NoError(t, err)
	want := goldenDirState()
	want.Name, want.Partitions[0].Verified = "", nil
	require.Equal(t, want, s)

	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store = DirFS(vfs.NewMem(), "replica")
	g.open()
	fs := g.cfg.Store.fs
	name := g.r.Name()
	require.NotEmpty(t, name)
	require.NoError(t, g.r.Close())
	s, err = readDirState(fs, "replica", g.log.topic)
	require.NoError(t, err)
	require.Equal(t, name, s.Name)
	s.Version, s.Name = 1, ""
	require.NoError(t, writeDirState(fs, "replica", s))
	g.open()
	name = g.r.Name()
	require.NoError(t, g.r.Close())
	g.open()
	require.Equal(t, name, g.r.Name())
	require.NoError(t, g.r.Close())
	g.cfg.Name = "another"
	g.open()
	require.Equal(t, "another", g.r.Name())
	require.NoError(t, g.r.Close())
	g.cfg.Name = ""
	g.open()
	require.Equal(t, "another", g.r.Name(), "it is the same copy, whoever opens it")
}

// The cuts at which a state was equal to the log are known after a restart, but not those of a state that it replaced.
func TestDirKeepsVerifiedCuts(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store = DirFS(vfs.NewMem(), "replica")
	g.log.append(0, "a", "1")
	first := g.log.cut(0)
	g.open()
	end := g.log.append(0, "b", "1")
	g.requireState(0)
	g.awaitVerdict(g.log.cut(0), Equal)
	require.NoError(t, g.r.Close())
	g.open()
	p := g.r.partitions[0]
	p.mu.Lock()
	verified := slices.Clone(p.verified)
	p.mu.Unlock()
	require.Len(t, verified, 2)
	require.Equal(t, []int64{end, first}, []int64{verified[0].offset, verified[1].offset})
	require.Equal(t, digestOf(g.log.parts[0].states[end]), verified[0].digest)
	require.NotZero(t, verified[0].foundMs)
	require.NoError(t, g.r.Close())

	g.log.create(2, 1)
	g.log.append(0, "c", "1")
	cut := g.log.cut(0)
	g.open()
	g.requireState(0)
	require.NoError(t, g.r.Close())
	s, err := readDirState(g.cfg.Store.fs, "replica", g.log.topic)
	require.NoError(t, err)
	require.Len(t, s.Partitions[0].Verified, 1)
	require.Equal(t, cut, s.Partitions[0].Verified[0].Offset)
}

func TestDirStateRefusesWhatItDoesNotKnow(t *testing.T) {
	_, err := decodeDirState([]byte(`{"version": 3, "topic": {"name": "files"}}`))
	require.ErrorIs(t, err, ErrDir)
	require.ErrorContains(t, err, "version 3")
	for _, bad := range []string{``, `{"version": 2, "name": "` + strings.Repeat("n", 250) + `"}`,
		`{"version": 2, "partitions": [{"fold": "counter", "topic_id": "01000000000000000000000000000002",
			"incarnation": "01000000000000000000000000000002", "verified": [{"offset": 1, "sum": "00"}]}]}`,
		`{"version": 2, "partitions": [{"fold": "counter", "topic_id": "01000000000000000000000000000002",
			"incarnation": "01000000000000000000000000000002", "verified": [{"offset": 1, "time_ms": -1, "sum": "` + strings.Repeat("00", 32) + `"}]}]}`, `{"version": 1`, `{"version": 1, "topic": 5}`,
		`{"version": 1, "partitions": [{"fold": "counter", "topic_id": "00", "incarnation": "00"}]}`,
		`{"version": 1, "partitions": [{"fold": "sum", "topic_id": "01000000000000000000000000000002", "incarnation": "01000000000000000000000000000002"}]}`} {
		_, err := decodeDirState([]byte(bad))
		require.Error(t, err, bad)
		require.NotErrorIs(t, err, ErrDir)
		require.ErrorContains(t, err, "replica.json")
	}
}

func FuzzDirState(f *testing.F) {
	b, err := goldenDirState().encode()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"version": 1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeDirState(b)
		if err != nil {
			return
		}
		again, err := s.encode()
		require.NoError(t, err)
		got, err := decodeDirState(again)
		require.NoError(t, err)
		require.Equal(t, s, got)
	})
}
