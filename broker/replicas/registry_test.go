package replicas_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/replicas"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/log"
)

var files = replicas.Topic{ID: [16]byte{7}, Name: "files"}

// fakeLog is a partition to which a record was appended every 10 ms from 1,000,000 ms on.
type fakeLog struct {
	incarnation [16]byte
	start, end  int64
	frames      map[int64]replicas.Point
	timeless    bool // it does not know when records were appended
}

func (l *fakeLog) Incarnation() [16]byte { return l.incarnation }
func (l *fakeLog) Bounds() log.Bounds    { return log.Bounds{LogStart: l.start, LastStable: l.end} }
func (l *fakeLog) AppendTimeAt(offset int64) (int64, error) {
	if l.timeless {
		return 0, log.ErrNoTime
	}
	return 1_000_000 + 10*offset, nil
}

func (l *fakeLog) FrameAt(cut int64) (replicas.Point, bool) {
	p, ok := l.frames[cut]
	return p, ok
}

// sum is a digest of that many rows.
func sum(rows int64, of byte) digest.Digest {
	return digest.Digest{Sum: digest.SumFromBytes([32]byte{31: of}), Count: rows}
}

type rig struct {
	*replicas.Registry
	t       testing.TB
	log     *fakeLog
	away    bool // the log's partitions are not found
	now     time.Time
	said    bytes.Buffer
	metrics *prometheus.Registry
	stored  store
	restart func() // of the broker: the disputes are what is stored
}

func newRig(t testing.TB, set func(*replicas.Config)) *rig {
	g := &rig{t: t, now: time.UnixMilli(2_000_000), metrics: prometheus.NewRegistry()}
	g.log = &fakeLog{incarnation: [16]byte{1}, end: 1000, frames: map[int64]replicas.Point{}}
	for cut := int64(100); cut <= 1000; cut += 100 {
		g.log.frames[cut] = replicas.Point{Offset: cut, Digest: sum(10, 1)}
	}
	cfg := replicas.Config{
		Find: func(t replicas.Topic, partition int32) (replicas.Log, bool) {
			return g.log, t == files && partition < 2 && !g.away
		},
		Store: &g.stored, Now: func() time.Time { return g.now }, Metrics: g.metrics, Logger: slog.New(slog.NewTextHandler(&g.said, nil)),
	}
	if set != nil {
		set(&cfg)
	}
	var err error
	g.Registry, err = replicas.Open(cfg)
	require.NoError(t, err)
	g.restart = func() {
		t.Helper()
		g.said.Reset()
		g.metrics = prometheus.NewRegistry()
		cfg.Metrics = g.metrics
		g.Registry, err = replicas.Open(cfg)
		require.NoError(t, err)
	}
	return g
}

// state is a copy of partition 0.
func state(position int64, set ...func(*api.ReplicaPartition)) *api.ReplicaPartition {
	x := &api.ReplicaPartition{Incarnation: []byte{15: 0}, Position: position, Phase: "following"}
	x.Incarnation[0] = 1
	for _, f := range set {
		f(x)
	}
	return x
}

func verdict(o api.Outcome, cut int64, d digest.Digest) func(*api.ReplicaPartition) {
	return func(x *api.ReplicaPartition) {
		s := d.Sum.Bytes()
		x.Outcome, x.ComparedMs, x.Compared = o, 1_900_000+cut, &api.Point{Offset: cut, Count: d.Count, Sum: s[:]}
	}
}

func drifted(cut int64, d digest.Digest) func(*api.ReplicaPartition) {
	return verdict(api.Outcome_OUTCOME_DRIFTED, cut, d)
}

func equal(cut int64) func(*api.ReplicaPartition) {
	return verdict(api.Outcome_OUTCOME_EQUAL, cut, sum(10, 1))
}

func (g *rig) report(name string, partitions ...*api.ReplicaPartition) *api.ReportResponse {
	g.t.Helper()
	answer, err := g.Report(files, &api.ReportRequest{Topic: files.Name, Replica: name, Host: "host pid 1", Partitions: partitions})
	require.NoError(g.t, err)
	return answer
}

func (g *rig) names() (names []string) {
	for _, x := range g.Replicas("") {
		names = append(names, x.Replica)
	}
	return names
}

// A replica is listed with the lag that it has now; it is forgotten a while after its last report, or when it leaves.
func TestReplicasComeAndGo(t *testing.T) {
	g := newRig(t, nil)
	require.EqualValues(t, 5_000, g.report("b", state(900)).IntervalMs)
	g.report("a", state(1000))

	list := g.Replicas("files")
	require.Equal(t, []string{"a", "b"}, g.names())
	b := list[1]
	require.Equal(t, "files b host pid 1", b.Topic+" "+b.Replica+" "+b.Host)
	require.EqualValues(t, 2_000_000, b.ReportedMs)
	require.Equal(t, []int64{100, 2_000_000 - 1_009_000}, []int64{b.Partitions[0].LagRecords, b.Partitions[0].LagMs})
	require.Equal(t, []int64{0, 0}, []int64{list[0].Partitions[0].LagRecords, list[0].Partitions[0].LagMs})
	require.Empty(t, g.Replicas("others"))

	g.log.end = 1500
	g.now = g.now.Add(time.Second)
	for i, want := range [][]int64{{500, 2_001_000 - 1_010_000}, {600, 2_001_000 - 1_009_000}} {
		x := g.Replicas("files")[i].Partitions[0]
		require.Equal(t, want, []int64{x.LagRecords, x.LagMs}, "it has not said that it is further")
	}
	g.now = g.now.Add(20 * time.Second)
	require.EqualValues(t, 100, list[1].Partitions[0].LagRecords, "a list that was given does not change")

	g.report("b", state(1500))
	g.now = g.now.Add(4*time.Minute + 40*time.Second)
	require.Equal(t, []string{"b"}, g.names())
	_, err := g.Report(files, &api.ReportRequest{Replica: "b", Leaving: true})
	require.NoError(t, err)
	require.Empty(t, g.names())
	_, err = g.Report(files, &api.ReportRequest{Replica: "nobody", Leaving: true})
	require.NoError(t, err)
}

// A replica of another log, or without a state, lacks everything that there is; none lacks what the log start has passed.
func TestLagCountsFromTheLogStart(t *testing.T) {
	g := newRig(t, nil)
	g.log.start = 300
	g.report("anew", state(900, func(x *api.ReplicaPartition) { x.Incarnation[0] = 2 }))
	g.report("empty", &api.ReplicaPartition{Phase: "bootstrapping"})
	g.report("old", state(100))
	for _, x := range g.Replicas("") {
		require.EqualValues(t, 700, x.Partitions[0].LagRecords, x.Replica)
	}
}

// What is not known of a lag is said so, and a clock that was set back makes none that is less than none.
func TestLagOfUnknownTimes(t *testing.T) {
	g := newRig(t, nil)
	g.now = time.UnixMilli(1_000_000)
	g.report("a", state(900))
	for timeless, want := range map[bool]int64{false: 0, true: -1} {
		g.log.timeless = timeless
		x := g.Replicas("")[0].Partitions[0]
		require.Equal(t, []int64{100, want}, []int64{x.LagRecords, x.LagMs})
	}
}

// 100,000 names take no more than what is kept, no label, and nobody's place; once they are silent, whoever comes has room.
func TestAFloodOfNames(t *testing.T) {
	g := newRig(t, nil)
	g.report("first", state(100, drifted(100, sum(9, 9))))
	count := func() int {
		n, err := testutil.GatherAndCount(g.metrics)
		require.NoError(t, err)
		return n
	}
	series, refused := count(), 0
	for i := range 100_000 {
		name := fmt.Sprintf("%d\n\",evil=\"{}", i)
		_, err := g.Report(files, &api.ReportRequest{Replica: name, Host: strings.Repeat("h", 512), Partitions: []*api.ReplicaPartition{state(100)}})
		if err != nil {
			require.ErrorIs(t, err, replicas.ErrFull)
			refused++
		}
	}
	require.Equal(t, 90_001, refused)
	require.Len(t, g.names(), 10_000)
	require.Equal(t, series, count())
	require.NoError(t, testutil.GatherAndCompare(g.metrics, strings.NewReader(`
# HELP keyframe_replicas_refused_total Reports refused because as many replicas report as are kept.
# TYPE keyframe_replicas_refused_total counter
keyframe_replicas_refused_total 90001
`), "keyframe_replicas_refused_total"))
	g.report("first", state(200))
	require.Contains(t, g.names(), "first")
	g.now = g.now.Add(101 * time.Second) // two intervals of as many
	g.report("newcomer", state(1))
	require.Contains(t, g.names(), "newcomer")
}

// A partition that a report names twice is kept, and counted, once.
func TestAPartitionTwiceInAReport(t *testing.T) {
	g := newRig(t, func(c *replicas.Config) { c.BytesMax = 2100 })
	g.report("a", state(1), state(2))
	g.report("a", state(3), state(4))
	require.Len(t, g.Replicas("")[0].Partitions, 1)
	require.EqualValues(t, 4, g.Replicas("")[0].Partitions[0].Position)
}

// Where many report, each is waited for accordingly longer: it is not forgotten, nor does it lose its place, before its next report is overdue.
func TestManyAreWaitedForLonger(t *testing.T) {
	g := newRig(t, func(c *replicas.Config) { c.ReportsPerSecond, c.ForgetAfter, c.ReplicasMax = 1, time.Second, 20 })
	for i := range 20 {
		g.report(fmt.Sprint("r", i), state(1))
	}
	g.report("r0", state(1)) // of 20 now: every 20 s
	g.now = g.now.Add(39 * time.Second)
	require.Contains(t, g.names(), "r0")
	g.now = g.now.Add(2 * time.Second)
	require.NotContains(t, g.names(), "r0")
}

// What is kept is bounded in number and in bytes. Who is silent makes room, who reports keeps his place.
func TestBounds(t *testing.T) {
	for name, set := range map[string]func(*replicas.Config){
		"number": func(c *replicas.Config) { c.ReplicasMax = 3 },
		"bytes":  func(c *replicas.Config) { c.BytesMax = 3 * 2100 },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, set)
			for _, name := range []string{"a", "b", "c"} {
				g.report(name, state(1))
			}
			newcomer := &api.ReportRequest{Replica: "d", Partitions: []*api.ReplicaPartition{state(1)}}
			_, err := g.Report(files, newcomer)
			require.ErrorIs(t, err, replicas.ErrFull)
			g.report("a", state(2))
			require.Equal(t, []string{"a", "b", "c"}, g.names())

			g.now = g.now.Add(15 * time.Second)
			g.report("b", state(2))
			g.now = g.now.Add(15 * time.Second)
			_, err = g.Report(files, newcomer)
			require.NoError(t, err)
			names := g.names()
			require.Contains(t, names, "b")
			require.Contains(t, names, "d")
			require.NoError(t, testutil.GatherAndCompare(g.metrics, strings.NewReader(`
# HELP keyframe_replicas_refused_total Reports refused because as many replicas report as are kept.
# TYPE keyframe_replicas_refused_total counter
keyframe_replicas_refused_total 1
`), "keyframe_replicas_refused_total"))
		})
	}
}

// However many there are, they report so often together.
func TestManyReplicasReportLessOften(t *testing.T) {
	g := newRig(t, func(c *replicas.Config) { c.ReportsPerSecond = 10 })
	for i := range 1000 {
		g.report(fmt.Sprint("r", i), state(1))
	}
	require.EqualValues(t, 100_000, g.report("r1", state(1)).IntervalMs)
}

// Every verdict and every repair counts once, however often it is reported; labels are those of partitions.
func TestMetrics(t *testing.T) {
	g := newRig(t, nil)
	repaired := func(x *api.ReplicaPartition) { x.Repairs, x.Repair = 1, &api.Repair{Cut: 200, Keys: 3, Bytes: 400} }
	g.report("a", state(100, equal(100)))
	g.report("a", state(150, equal(100)))
	g.report("a", state(200, drifted(200, sum(9, 9))), state(200, equal(200), repaired))
	g.report("a", state(250, equal(200), repaired))
	g.report("b", state(400, drifted(300, sum(8, 8))))
	g.report("c", state(950, verdict(api.Outcome_OUTCOME_INCONCLUSIVE, 900, sum(0, 0))))
	require.NoError(t, testutil.GatherAndCompare(g.metrics, strings.NewReader(`
# HELP keyframe_replicas Replicas that report, by processes.
# TYPE keyframe_replicas gauge
keyframe_replicas{partition="0",topic="files"} 3
# HELP keyframe_replicas_bytes Estimate of the memory of what is kept of reports.
# TYPE keyframe_replicas_bytes gauge
keyframe_replicas_bytes 6177
# HELP keyframe_replicas_disputed 1: replicas agree with one another and not with the broker, and nothing is repaired from the partition; see the log.
# TYPE keyframe_replicas_disputed gauge
keyframe_replicas_disputed{partition="0",topic="files"} 0
# HELP keyframe_replicas_drifted Replicas whose latest comparison proved that they differ from the log.
# TYPE keyframe_replicas_drifted gauge
keyframe_replicas_drifted{partition="0",topic="files"} 1
# HELP keyframe_replicas_lag_records_max Offsets up to the last stable one that the replica furthest behind lacks, aborted records and the markers of transactions included.
# TYPE keyframe_replicas_lag_records_max gauge
keyframe_replicas_lag_records_max{partition="0",topic="files"} 750
# HELP keyframe_replicas_lag_seconds_max For how long the first offset that a replica lacks has been there, of all replicas the longest.
# TYPE keyframe_replicas_lag_seconds_max gauge
keyframe_replicas_lag_seconds_max{partition="0",topic="files"} 997.5
# HELP keyframe_replicas_repaired_bytes_total Bytes that the repairs reported took.
# TYPE keyframe_replicas_repaired_bytes_total counter
keyframe_replicas_repaired_bytes_total{partition="0",topic="files"} 400
# HELP keyframe_replicas_repaired_keys_total Keys that differed in the repairs reported.
# TYPE keyframe_replicas_repaired_keys_total counter
keyframe_replicas_repaired_keys_total{partition="0",topic="files"} 3
# HELP keyframe_replicas_repairs_total Repairs that replicas reported.
# TYPE keyframe_replicas_repairs_total counter
keyframe_replicas_repairs_total{partition="0",topic="files"} 1
# HELP keyframe_replicas_verdicts_total Comparisons that replicas reported, by outcome.
# TYPE keyframe_replicas_verdicts_total counter
keyframe_replicas_verdicts_total{outcome="drifted",partition="0",topic="files"} 2
keyframe_replicas_verdicts_total{outcome="equal",partition="0",topic="files"} 2
keyframe_replicas_verdicts_total{outcome="error",partition="0",topic="files"} 0
keyframe_replicas_verdicts_total{outcome="inconclusive",partition="0",topic="files"} 1
`), "keyframe_replicas", "keyframe_replicas_bytes", "keyframe_replicas_disputed", "keyframe_replicas_drifted", "keyframe_replicas_lag_records_max",
		"keyframe_replicas_lag_seconds_max", "keyframe_replicas_repaired_bytes_total", "keyframe_replicas_repaired_keys_total",
		"keyframe_replicas_repairs_total", "keyframe_replicas_verdicts_total"))

	// Another run under the same name counts from none; a dispute is seen.
	again := func(x *api.ReplicaPartition) { x.Repairs, x.Repair = 3, &api.Repair{Cut: 200, Keys: 5, Bytes: 50} }
	anew := func(x *api.ReplicaPartition) { x.Repairs, x.Repair = 1, &api.Repair{Cut: 300, Keys: 7, Bytes: 70} }
	g.report("a", state(250, equal(200), again))
	g.report("a", state(300, drifted(300, sum(8, 8)), anew))
	require.NoError(t, testutil.GatherAndCompare(g.metrics, strings.NewReader(`
# HELP keyframe_replicas_disputed 1: replicas agree with one another and not with the broker, and nothing is repaired from the partition; see the log.
# TYPE keyframe_replicas_disputed gauge
keyframe_replicas_disputed{partition="0",topic="files"} 1
# HELP keyframe_replicas_repaired_keys_total Keys that differed in the repairs reported.
# TYPE keyframe_replicas_repaired_keys_total counter
keyframe_replicas_repaired_keys_total{partition="0",topic="files"} 15
# HELP keyframe_replicas_repairs_total Repairs that replicas reported.
# TYPE keyframe_replicas_repairs_total counter
keyframe_replicas_repairs_total{partition="0",topic="files"} 4
`), "keyframe_replicas_disputed", "keyframe_replicas_repaired_keys_total", "keyframe_replicas_repairs_total"))
}

// With the topic its replicas go, its disputes and its labels; a report that was under way leaves nothing that would stand beside the next life's.
func TestTopicIsDropped(t *testing.T) {
	g := newRig(t, nil)
	g.report("a", state(300, drifted(200, sum(9, 9))))
	g.report("b", state(300, drifted(200, sum(9, 9))))
	require.True(t, g.Disputed(files.ID, 0))
	g.DropTopic(files.ID)
	require.False(t, g.Disputed(files.ID, 0))
	require.Empty(t, g.names())
	n, err := testutil.GatherAndCount(g.metrics, "keyframe_replicas")
	require.NoError(t, err)
	require.Zero(t, n)

	g.report("a", state(300)) // late
	_, err = g.Report(replicas.Topic{ID: [16]byte{8}, Name: files.Name}, &api.ReportRequest{Replica: "a", Partitions: []*api.ReplicaPartition{state(0)}})
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, g.names())
	_, err = g.metrics.Gather()
	require.NoError(t, err)
}
