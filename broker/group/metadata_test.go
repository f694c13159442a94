package group

import (
	"encoding/hex"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/broker/group/stored"
	"github.com/keyframelog/keyframe/broker/script"
)

func goldenMetadata() Metadata {
	return Metadata{
		ProtocolType: "consumer", Protocol: "range", Generation: 7, Leader: "client-1", SinceMs: 1_700_000_000_000,
		Members: []MemberMetadata{
			{ID: "client-1", ClientID: "client", ClientHost: "/127.0.0.1", SessionMs: 45_000, RebalanceMs: 300_000,
				Protocols:  []Protocol{{Name: "range", Metadata: []byte{1, 2, 3}}, {Name: "cooperative-sticky", Metadata: []byte{}}},
				Assignment: []byte{0, 1}},
			{ID: "i-2", InstanceID: "i", ClientHost: "/::1", SessionMs: 6_000, RebalanceMs: 6_000,
				Protocols: []Protocol{{Name: "range", Metadata: []byte{4}}}, Assignment: []byte{}},
		},
	}
}

func TestMetadataGolden(t *testing.T) {
	const file = "testdata/metadata-v1.hex"
	meta := goldenMetadata()
	got := hex.Dump(meta.Append(nil))
	if script.Updating() {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "the format changed: that needs a new version")
}

func TestMetadataRoundTrip(t *testing.T) {
	meta := goldenMetadata()
	b := meta.Append([]byte("before"))
	got, err := DecodeMetadata(b[len("before"):])
	require.NoError(t, err)
	require.Equal(t, meta, got)
	empty := Metadata{Generation: 3}
	got, err = DecodeMetadata(empty.Append(nil))
	require.NoError(t, err)
	require.Equal(t, empty, got)
}

func TestMetadataRefusesOtherBytes(t *testing.T) {
	meta := goldenMetadata()
	b := meta.Append(nil)
	rapid.Check(t, func(t *rapid.T) {
		c := append([]byte(nil), b...)
		i := rapid.IntRange(1, len(c)-1).Draw(t, "at")
		c[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		_, err := DecodeMetadata(c)
		require.ErrorIs(t, err, ErrCorrupt)
		_, err = DecodeMetadata(b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")])
		require.ErrorIs(t, err, ErrCorrupt)
	})
	b[0] = 2
	_, err := DecodeMetadata(b)
	require.ErrorIs(t, err, ErrVersion)
	require.NotErrorIs(t, err, ErrCorrupt)
}

func FuzzDecodeMetadata(f *testing.F) {
	meta := goldenMetadata()
	f.Add(meta.Append(nil))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		meta, err := DecodeMetadata(fixSum(b))
		if err != nil {
			return
		}
		again, err := DecodeMetadata(meta.Append(nil))
		require.NoError(t, err)
		require.Equal(t, meta, again)
	})
}

// fixSum lets the fuzzer through the checksum.
func fixSum(b []byte) []byte {
	if len(b) < 5 {
		return b
	}
	body := b[: len(b)-4 : len(b)-4]
	return stored.AppendSum(body, 0)
}
