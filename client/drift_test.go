package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Drift on the way is found at the next frame, whatever kind it is.
func TestDriftIsDetected(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		clone := func(s segment) segment {
			s.records = append([]batch.Record(nil), s.records...)
			return s
		}
		faults := map[string]func(s segment) []segment{
			"dropped": func(s segment) []segment {
				s = clone(s)
				s.records = s.records[:len(s.records)-1]
				return []segment{s}
			},
			"dropped batch": func(segment) []segment { return nil },
			"mutated": func(s segment) []segment {
				s = clone(s)
				s.records[0].Value = []byte("13")
				return []segment{s}
			},
			"wrong key": func(s segment) []segment {
				s = clone(s)
				s.records[0].Key = []byte("k9")
				return []segment{s}
			},
			"doubled": func(s segment) []segment { // under the next offset, as a producer without idempotence does
				s = clone(s)
				twice := s.records[0]
				twice.Offset = s.next
				s.records, s.next = append(s.records, twice), s.next+1
				return []segment{s}
			},
			"swapped": func(s segment) []segment {
				s = clone(s)
				a, b := &s.records[1], &s.records[2]
				a.Key, b.Key, a.Value, b.Value = b.Key, a.Key, b.Value, a.Value
				return []segment{s}
			},
		}
		for name, fault := range faults {
			for _, policy := range []Policy{Report, Halt, Rebootstrap} {
				t.Run(fmt.Sprintf("%s/%d", name, policy), func(t *testing.T) {
					kind := fold.Counter
					if name == "swapped" {
						kind = fold.LastValue
					}
					g := newRig(t, kind, 1)
					g.cfg.Store = store()
					g.cfg.OnDrift = policy
					hit := int64(-1) // base offset of the batch that is damaged
					g.tail.fault = func(s segment) []segment {
						if len(s.records) == 0 || s.records[0].Offset != hit {
							return []segment{s}
						}
						return fault(s)
					}
					g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
					g.log.cut(0)
					hit = 3
					g.open()
					g.log.append(0, "k0", "5", "k1", "6", "k1", "7")
					g.log.append(0, "k2", "1")
					require.NoError(t, g.r.WaitFor(testContext(t), 0, 7))
					cut := g.log.cut(0)
					g.awaitVerdict(cut, Drifted)
					g.await("the event", func() bool { _, ok := g.saw(DriftFound); return ok })
					switch policy {
					case Halt:
						require.ErrorIs(t, g.r.WaitFor(testContext(t), 0, 8), ErrDrifted)
						require.ErrorIs(t, g.r.Err(), ErrDrifted)
					case Report:
						g.log.append(0, "k3", "1")
						require.NoError(t, g.r.WaitFor(testContext(t), 0, 8))
						require.NoError(t, g.r.Err())
					case Rebootstrap:
						g.await("the right state", func() bool { return fmt.Sprint(g.state()) == fmt.Sprint(g.log.state(0)) })
						g.log.append(0, "k3", "1")
						g.requireState(0)
						g.awaitVerdict(g.log.cut(0), Equal)
					}
				})
			}
		}
	})
}

// A delta that comes twice under its own offset is applied once.
func TestRepeatedSegmentsAreAppliedOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store = store()
		g.tail.fault = func(s segment) []segment { return []segment{s, s} }
		g.log.append(0, "n", "1")
		g.log.cut(0)
		g.open()
		g.log.append(0, "n", "1")
		g.requireState(0)
		g.awaitVerdict(g.log.cut(0), Equal)
	})
}

// A frame that is announced long after the replica passed it: the log is asked at our own position.
func TestFrameOutsideOfTheRing(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.RingEntries = 4
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.plane.hidden.Store(true)
	g.open()
	g.log.append(0, "b", "1")
	g.log.cut(0)
	for i := range 10 {
		g.log.append(0, fmt.Sprint(i), "x")
	}
	g.requireState(0)
	require.Zero(t, g.plane.asked.Load())
	g.plane.hidden.Store(false)
	g.log.changed.notify()
	g.awaitVerdict(12, Equal)
	require.Equal(t, int64(1), g.plane.asked.Load())
}

// A frame whose cut lies within what one fetch brought is compared at its cut, before the records above it are applied.
func TestFrameCutWithinAFetch(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.cfg.RingEntries = 1
		g.tail.fault = func(segment) []segment { return nil } // what comes, comes by hand
		g.open()
		g.log.append(0, "a", "1", "b", "1")
		cut := g.log.cut(0)
		g.log.append(0, "a", "-", "c", "1")
		p := g.r.partitions[0]
		require.Eventually(t, func() bool { // the announcement is there, and the tail
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.pending) == 1 && p.attached == p.generation
		}, guard, time.Millisecond)
		g.log.mu.Lock()
		batches := g.log.parts[0].batches
		whole := segment{records: append(append([]batch.Record(nil), batches[0].records...), batches[1].records...), next: 4}
		g.log.mu.Unlock()
		p.apply(testContext(t), whole)
		g.awaitVerdict(cut, Equal)
		g.requireState(0)
		require.Zero(t, g.plane.asked.Load())
	})
}

// Frames that were announced before the partition had a state are compared when it reaches them.
func TestFrameAnnouncedBeforeTheState(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.From = store(), FromEarliest
		g.log.append(0, "a", "1")
		first := g.log.cut(0)
		g.log.append(0, "b", "1")
		second := g.log.cut(0)
		r := &Replica{cfg: g.cfg.withDefaults(), tail: g.tail}
		p := newPartition(r, 0)
		r.partitions = map[int32]*partition{0: p}
		r.plane = plane.New(r.cfg.HTTPClient, g.plane.url, g.log.topic)
		stores, err := openStores(r.cfg, topicInfo{})
		require.NoError(t, err)
		r.stores = stores
		require.NoError(t, r.plane.Frames(testContext(t), nil, false, r.learn))
		require.NoError(t, p.beginEarliest(testContext(t)))
		p.attach(p.generation)
		for _, b := range g.log.parts[0].batches {
			p.apply(testContext(t), b)
		}
		r.callbacks.wait(0, 0, testContext(t).Done())
		for _, at := range []int64{first, second} {
			v, ok := g.verdict(at)
			require.True(t, ok, "frame %d", at)
			require.Equal(t, Equal, v.Outcome)
		}
		require.NoError(t, p.rows().close())
		require.NoError(t, stores.close())
		r.cfg.HTTPClient.CloseIdleConnections()
	})
}

// A comparison that fails is made again without anything else happening, until it does not.
func TestComparisonThatFailsIsMadeAgain(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.log.append(0, "a", "1")
	g.open()
	g.requireState(0)
	g.plane.broken.Store(true)
	g.r.partitions[0].askNow()
	g.await("a failure, again and again", func() bool { return g.outcomes()[Error] > 2 })
	g.plane.broken.Store(false)
	g.await("a verdict", func() bool { return g.outcomes()[Equal] > 0 })
}

// Only equal passes: a log that has trimmed the offset of a replica knows no digest to compare with there, be the replica right or wrong.
func TestComparisonWithAnOffsetThatWasTrimmed(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, lost := range []bool{false, true} {
			g := newRig(t, fold.LastValue, 1)
			g.cfg.Store = store()
			g.lagging()
			if lost {
				g.log.rewrite(0, "k0", "never seen")
			}
			g.overwrite("b")
			g.overwrite("c")
			g.log.trim(0)
			at := g.r.partitions[0].position().Offset
			for range 2 {
				v := g.r.Verify(testContext(t))[0]
				require.Equal(t, Inconclusive, v.Outcome, "%+v", v)
				require.Equal(t, at, v.At)
				require.ErrorIs(t, v.Err, plane.ErrNotComparable)
				require.NotEmpty(t, v.Reason)
				require.Zero(t, v.Logs, "the log said nothing")
			}
			g.tail.release()
		}
	})
}
