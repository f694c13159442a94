package consumer

import (
	"encoding/hex"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/broker/group/assign"
	"github.com/keyframelog/keyframe/broker/group/stored"
)

var update = flag.Bool("update", false, "write the golden files anew")

var epochZero = time.UnixMilli(1_700_000_000_000)

// goldenGroup has a member of each protocol, one that gives up partitions for the other, and a static one that will be back.
func goldenGroup(t testing.TB) (*Group, Options) {
	w := newWorld()
	w.set("a", 4)
	w.set("b", 3)
	opts := Options{SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second, MaxSize: 10, Topics: w}
	g := New(epochZero, opts)
	beat := func(r HeartbeatRequest) HeartbeatReply {
		reply, _ := g.Heartbeat(epochZero, &r)
		require.Nil(t, reply.Err)
		return reply
	}
	instance, rack, pattern, assignor, away := "i", "rack", "a|c", "uniform", "j"
	one := beat(HeartbeatRequest{MemberID: "one", InstanceID: &instance, Rack: &rack, Pattern: &pattern, Assignor: &assignor,
		Rebalance: 30 * time.Second, Owned: assign.Partitions{}, ClientID: "client", ClientHost: "/127.0.0.1"})
	beat(HeartbeatRequest{MemberID: "away", InstanceID: &away, Rebalance: time.Second, Names: []string{"b"}, Owned: assign.Partitions{}})
	beat(HeartbeatRequest{MemberID: "away", InstanceID: &away, Epoch: -2, Rebalance: -1})
	meta := kmsg.ConsumerMemberMetadata{Version: 1, Topics: []string{"a", "b"}}
	joined, _ := g.Join(epochZero, &JoinRequest{NewMemberID: "old", ProtocolType: "consumer", Session: 10 * time.Second, Rebalance: 20 * time.Second,
		Protocols: []Protocol{{Name: "range", Metadata: meta.AppendTo(nil)}, {Name: "sticky", Metadata: []byte{1}}}})
	require.Nil(t, joined.Err)
	two := beat(HeartbeatRequest{MemberID: "one", InstanceID: &instance, Epoch: one.Epoch, Rebalance: -1})
	require.NotNil(t, two.Assignment, "it has to give up something")
	return g, opts
}

func TestMetadataGolden(t *testing.T) {
	const file = "testdata/metadata-v2.hex"
	g, _ := goldenGroup(t)
	got := hex.Dump(g.Append(nil))
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "the format changed: that needs a new version")
}

func TestMetadataRoundTrip(t *testing.T) {
	g, opts := goldenGroup(t)
	b := g.Append([]byte("before"))[len("before"):]
	again, err := Restore(epochZero, opts, b)
	require.NoError(t, err)
	require.Equal(t, b, again.Append(nil))
	require.Equal(t, g.Describe(), again.Describe())
	empty, err := Restore(epochZero, opts, New(epochZero, opts).Append(nil))
	require.NoError(t, err)
	require.Equal(t, Empty, empty.State())
}

func TestMetadataRefusesOtherBytes(t *testing.T) {
	g, opts := goldenGroup(t)
	b := g.Append(nil)
	rapid.Check(t, func(t *rapid.T) {
		c := append([]byte(nil), b...)
		i := rapid.IntRange(1, len(c)-1).Draw(t, "at")
		c[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		_, err := Restore(epochZero, opts, c)
		require.ErrorIs(t, err, ErrCorrupt)
		_, err = Restore(epochZero, opts, b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")])
		require.ErrorIs(t, err, ErrCorrupt)
	})
	b[0] = 3
	_, err := Restore(epochZero, opts, b)
	require.ErrorIs(t, err, ErrVersion)
	require.NotErrorIs(t, err, ErrCorrupt)
}

func FuzzRestore(f *testing.F) {
	g, opts := goldenGroup(f)
	f.Add(g.Append(nil))
	f.Add([]byte{2, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 5 { // past the checksum
			body := b[: len(b)-4 : len(b)-4]
			b = stored.AppendSum(body, 0)
		}
		g, err := Restore(epochZero, opts, b)
		if err != nil {
			return
		}
		b = g.Append(nil)
		again, err := Restore(epochZero, opts, b)
		require.NoError(t, err)
		require.Equal(t, b, again.Append(nil))
		g.Tick(epochZero.Add(time.Hour))
	})
}
