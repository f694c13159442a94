package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// behind leaves an open replica at position 5, with the log trimmed above: what changed since is deletions of k0 and k1, and k2.
func (g *rig) behind() (cut int64) {
	g.lagging()
	g.log.append(0, "k0", "b", "k1", "b", "k2", "b")
	g.log.append(0, "k0", "-", "k1", "-", "k2", strings.Repeat("c", 1000))
	cut = g.log.cut(0)
	g.log.trim(0)
	return cut
}

// A replica whose position was trimmed is given what changed, each key once, deletions included, and no frame; those who watch are told.
func TestDelta(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k9", "a")
		a := g.spy(nil)
		cut := g.behind()
		ctx, cancel := context.WithCancel(testContext(t))
		next, stop := pullChanges(g.r.Watch(ctx, g.r.Positions()))
		defer func() { cancel(); stop() }()
		go g.tail.release()
		for _, want := range []string{"k0 deleted", "k1 deleted", "k2 cc"} {
			c, err := next()
			require.NoError(t, err)
			got := string(c.Key) + " " + string(c.Value[:min(2, len(c.Value))])
			if c.Deleted {
				got = string(c.Key) + " deleted"
			}
			require.Equal(t, want, got)
			if want == "k2 cc" {
				require.Equal(t, cut, c.Next.Offset, "who has the last has all")
			} else {
				require.Equal(t, c.Offset+1, c.Next.Offset)
			}
		}
		g.requireState(0)
		g.log.append(0, "k0", "d")
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_DELTA}, a.all()[len(a.all())-2:])
		e, _ := g.saw(CaughtUp)
		require.Equal(t, cut, e.Offset)
		require.Equal(t, int64(3), e.Rows)
		p := g.r.partitions[0]
		p.mu.Lock()
		verified := slices.ContainsFunc(p.verified, func(x verifiedCut) bool { return x.offset == cut })
		p.mu.Unlock()
		require.True(t, verified, "it is a cut at which the state was equal")
		require.Equal(t, int64(2), g.plane.tries.Load(), "the frame at first, then the delta")
		g.awaitLease(1, "the release", func(l fakeLease) bool { return l.released })
		g.awaitVerdict(g.log.cut(0), Equal)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// A delta's stream that breaks is read on where it broke.
func TestBrokenDeltaIsResumed(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.behind()
		first := int(g.plane.tries.Load())
		cutShort := func(try int, b []byte) []byte {
			if try < first+5 {
				return b[:min(len(b), 200)]
			}
			return b
		}
		g.plane.fault.Store(&cutShort)
		g.tail.release()
		g.requireState(0)
		require.Equal(t, int64(first+5), g.plane.tries.Load())
		g.await("the word of it", func() bool { _, caught := g.saw(CaughtUp); return caught })
		_, rejected := g.saw(FrameRejected)
		require.False(t, rejected)
	})
}

// Nothing of a delta is visible before all of it is verified: readers have the former state as long as it is damaged, and each attempt is an
// event.
func TestDamagedDeltaIsNeverVisible(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.behind()
		former := g.state()
		at := g.r.Positions()
		var off atomic.Bool
		damage := func(try int, b []byte) []byte {
			if !off.Load() {
				b[len(b)*(try%7+1)/8] ^= 1
			}
			return b
		}
		g.plane.fault.Store(&damage)
		g.tail.release()
		g.await("five attempts", func() bool {
			require.Equal(t, former, g.state())
			require.Equal(t, at, g.r.Positions())
			return g.count(FrameRejected) >= 5
		})
		off.Store(true)
		g.requireState(0)
	})
}

// A state that was wrong when the replica fell asleep is wrong with what changed since: that is found at the cut, told, and dealt with as the policy says,
// as any drift; a repair costs the difference. A whole frame is loaded by who wants that.
func TestDeltaOnADriftedState(t *testing.T) {
	for _, policy := range []Policy{Repair, Report, Halt, Rebootstrap} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newRig(t, fold.LastValue, 1)
				g.cfg.Store, g.cfg.OnDrift = store(), policy
				g.plane.interval.Store(never)
				g.tail.fault = func(s segment) []segment {
					if len(s.records) == 1 && string(s.records[0].Key) == "x" {
						s.records = append([]batch.Record(nil), s.records...)
						s.records[0].Key = []byte("y")
					}
					return []segment{s}
				}
				a := g.spy(nil)
				for i := range 4 {
					g.log.append(0, fmt.Sprint("k", i), "a")
				}
				g.log.cut(0)
				r := g.open()
				end := g.log.append(0, "x", "1")
				require.NoError(t, r.WaitFor(testContext(t), 0, end))
				require.Contains(t, g.state(), "y")
				g.tail.hold()
				g.overwrite("b")
				cut := g.overwrite("c")
				g.log.trim(0)
				g.tail.release()
				x := g.awaitTold("the drift", func(x *state.ReplicaPartition) bool { return x.Outcome == state.Outcome_OUTCOME_DRIFTED })
				require.Equal(t, cut, x.Compared.Offset, "where others can be compared with it")
				switch policy {
				case Halt:
					<-r.partitions[0].stopped
					require.ErrorIs(t, r.Err(), ErrDrifted)
					require.Contains(t, g.state(), "y", "it is as it was")
				case Report:
					g.await("the keys are named", func() bool { _, named := g.saw(KeysNamed); return named })
					require.Contains(t, g.state(), "y", "it is as it was")
				case Repair:
					g.await("repaired", func() bool { _, repaired := g.saw(Repaired); return repaired })
					g.requireState(0)
				case Rebootstrap:
					g.awaitTold("a new state, which is equal", func(x *state.ReplicaPartition) bool {
						return x.Bootstraps == 2 && x.Outcome == state.Outcome_OUTCOME_EQUAL && x.Compared.Offset == cut
					})
					g.requireState(0)
				}
				require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_DELTA}, a.all()[:2])
				_, rejected := g.saw(FrameRejected)
				require.False(t, rejected)
				if e, repaired := g.saw(Repaired); policy == Repair {
					require.True(t, repaired)
					require.Equal(t, BySketch, e.Repair.Method)
					require.EqualValues(t, 2, e.Repair.Keys)
				}
			})
		})
	}
}

// A delta without rows, where all that happened was aborted, has an end mark all the same.
func TestEmptyDelta(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.lagging()
		g.log.abort(0, 3)
		cut := g.log.cut(0)
		g.log.trim(0)
		g.log.append(0, "z", "1")
		g.tail.release()
		g.requireState(0)
		g.await("the word of it", func() bool { _, caught := g.saw(CaughtUp); return caught })
		e, _ := g.saw(CaughtUp)
		require.Equal(t, cut, e.Offset)
		require.Zero(t, e.Rows)
	})
}

// Below the horizon deletions are not known any more: there is no delta, and the frame is loaded.
func TestNoDeltaBelowTheHorizon(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		a := g.spy(nil)
		g.behind()
		g.log.expire(0)
		g.tail.release()
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_FRAME}, a.all())
	})
}

// Rows that the log start has passed leave with the delta, and watchers are told that nobody deleted them.
func TestDeltaWithRowsThatExpire(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.lagging()
		g.log.append(0, "k0", "b", "k3", "b")
		g.log.append(0, "k3", "c")
		g.log.cutExpiring(0, 3)
		g.log.trim(0)
		ctx, cancel := context.WithCancel(testContext(t))
		next, stop := pullChanges(g.r.Watch(ctx, g.r.Positions()))
		defer func() { cancel(); stop() }()
		go g.tail.release()
		gone := map[string]bool{}
		for len(gone) < 2 {
			c, err := next()
			require.NoError(t, err)
			if c.Deleted {
				require.True(t, c.Expired)
				gone[string(c.Key)] = true
			}
		}
		require.Equal(t, map[string]bool{"k1": true, "k2": true}, gone)
		g.requireState(0)
		require.Equal(t, int64(3), g.r.Positions()[0].Start)
		g.await("the word of it", func() bool { _, caught := g.saw(CaughtUp); return caught })
	})
}

// A counter that lags had folded on a row which had expired below its position, and had not heard of it: what changed since does not mend that. It is no drift,
// also where the replica was closed meanwhile: the whole frame is loaded, and watchers have what it has.
func TestDeltaOnAStateFoldedOnExpiredRows(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("closed %v", closed), func(t *testing.T) {
				g := newRig(t, fold.Counter, 1)
				g.cfg.Store, g.cfg.OnDrift = store(), Report
				a, ctx, m := g.spy(nil), testContext(t), newMirror()
				g.log.append(0, "k0", "1", "k1", "1")
				g.log.cut(0)
				r := g.open()
				g.plane.hidden.Store(true)
				g.log.cutExpiring(0, 1)
				end := g.log.append(0, "k0", "5") // 5 in the log, 6 here
				require.NoError(t, r.WaitFor(ctx, 0, end))
				require.NoError(t, m.follow(ctx, r, map[int32]int64{0: end}))
				require.Equal(t, "6", m.state["k0"])
				g.tail.hold()
				if closed {
					require.NoError(t, r.Close())
				}
				g.log.append(0, "k1", "1")
				g.log.append(0, "k1", "1")
				g.log.cut(0)
				g.log.trim(0)
				end = g.log.append(0, "k2", "1")
				g.tail.release()
				if closed {
					r = g.open()
				}
				g.requireState(0)
				if r.partitions[0].rows().perRecord() && closed { // nothing is stored
					return
				}
				e, told := g.saw(OutOfRange)
				require.True(t, told)
				require.ErrorIs(t, e.Err, errOutOfRange)
				require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_DELTA, state.Answer_ANSWER_FRAME}, a.all())
				var reset *WatchResetError
				err := m.follow(ctx, r, map[int32]int64{0: end})
				if errors.As(err, &reset) {
					m = newMirror()
					err = m.follow(ctx, r, map[int32]int64{0: end})
				}
				require.NoError(t, err)
				require.Equal(t, g.log.state(0), m.state)
				g.plane.hidden.Store(false)
				g.awaitVerdict(g.log.cut(0), Equal)
				require.Zero(t, g.outcomes()[Drifted])
			})
		}
	})
}

// mixedUp is a cache that answers with another frame, under the tag of the one that was asked for.
type mixedUp struct {
	on       atomic.Bool
	from, to string // in the path
	hits     atomic.Int64
}

func (m *mixedUp) RoundTrip(req *http.Request) (*http.Response, error) {
	if !m.on.Load() || !strings.HasSuffix(req.URL.Path, m.from) {
		return http.DefaultTransport.RoundTrip(req)
	}
	m.hits.Add(1)
	other, tag := req.Clone(req.Context()), req.Header.Get("If-Match")
	other.URL.Path = strings.TrimSuffix(req.URL.Path, m.from) + m.to
	other.Header.Del("If-Match")
	resp, err := http.DefaultTransport.RoundTrip(other)
	if err == nil {
		resp.Header.Set("ETag", tag)
	}
	return resp, err
}

// What comes is the frame of the answer, or what changed up to it, and no other that is as sound.
func TestAnotherFrameIsRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, delta := range []bool{true, false} {
			t.Run(fmt.Sprint("delta ", delta), func(t *testing.T) {
				g := newRig(t, fold.LastValue, 1)
				g.cfg.Store = store()
				m := &mixedUp{}
				g.cfg.HTTPClient = &http.Client{Transport: m}
				g.lagging()
				older := g.overwrite("b")
				cut := g.overwrite("c")
				m.from, m.to = fmt.Sprintf("/frames/%d", cut), fmt.Sprintf("/frames/%d", older)
				m.on.Store(true)
				if g.log.trim(0); !delta {
					g.log.expire(0)
				}
				former := g.state()
				g.tail.release()
				g.await("the refusal", func() bool {
					require.Equal(t, former, g.state())
					return g.count(BootstrapFailed) >= 2
				})
				e, _ := g.saw(BootstrapFailed)
				require.ErrorIs(t, e.Err, plane.ErrFrameChanged)
				require.NotZero(t, m.hits.Load())
				m.on.Store(false)
				g.requireState(0)
				require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "end", "1"))) // which is followed once it has caught up
				require.Equal(t, delta, g.count(CaughtUp) == 1)
			})
		}
	})
}
