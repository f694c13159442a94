package client

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

var update = flag.Bool("update", false, "write the golden file")

func goldenDirState() dirState {
	s := dirState{Version: dirStateVersion, Topic: "files"}
	s = s.with(newDirPartition(4, table.Identity{TopicID: [16]byte{1, 15: 2}, Partition: 1, Incarnation: [16]byte{3, 15: 4}, Fold: fold.JSONMergePatch}))
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
}

func TestDirStateRefusesWhatItDoesNotKnow(t *testing.T) {
	_, err := decodeDirState([]byte(`{"version": 2, "topic": {"name": "files"}}`))
	require.ErrorIs(t, err, ErrDir)
	require.ErrorContains(t, err, "version 2")
	for _, bad := range []string{``, `{"version": 1`, `{"version": 1, "topic": 5}`,
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
