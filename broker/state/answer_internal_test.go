package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

func digestFrom(b byte) digest.Digest {
	return digest.Digest{Count: 1, Sum: digest.SumFromBytes([32]byte{31: b})}
}

// standing is a partition that is folded to 120 and committed to 150, with frames at 50 and 100 and deltas from 50 on; tombstones below 20 have expired.
// The state at an offset has the digest digestFrom(offset).
func standing() *keyframer.Retained {
	return &keyframer.Retained{
		Bounds:  log.Bounds{DeltaStart: 50, LastStable: 150},
		Frames:  []table.Frame{{Cut: 50, Digest: digestFrom(50)}, {Cut: 100, Digest: digestFrom(100)}},
		Horizon: 20, Folded: table.Frame{Cut: 120, Digest: digestFrom(120)},
	}
}

// The bounds of each answer, to the offset.
func TestDecide(t *testing.T) {
	type want struct {
		answer              api.Answer
		reason              api.Reason
		from, since         int64
		cut                 int64 // -1: no frame
		heldFrom, heldSince int64
	}
	follow := func(at int64) want { return want{answer: api.Answer_ANSWER_CONTINUE, from: at, cut: -1} }
	states := func(offsets ...int64) (points []point) {
		for _, o := range offsets {
			points = append(points, point{offset: o, digest: digestFrom(byte(o))})
		}
		return points
	}
	wrong := func(offset int64) []point { return []point{{offset: offset, digest: digestFrom(255)}} }
	for name, x := range map[string]struct {
		points   []point
		repairAt int64 // -1: none
		epoch    int32
		change   func(*keyframer.Retained)
		want     want
		err      error
	}{
		"at the first delta":       {points: states(50), repairAt: -1, want: follow(50)},
		"below the first delta":    {points: states(49), repairAt: -1, want: want{answer: api.Answer_ANSWER_DELTA, from: 100, since: 49, cut: 100, heldFrom: 100, heldSince: 49}},
		"at the horizon":           {points: states(20), repairAt: -1, want: want{answer: api.Answer_ANSWER_DELTA, from: 100, since: 20, cut: 100, heldFrom: 100, heldSince: 20}},
		"below the horizon":        {points: states(19), repairAt: -1, want: want{answer: api.Answer_ANSWER_FRAME, from: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"at the end":               {points: states(150), repairAt: -1, want: follow(150)},
		"behind the end":           {points: states(151), repairAt: -1, want: want{answer: api.Answer_ANSWER_RESET, reason: api.Reason_REASON_FUTURE_POSITION, from: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"where it is folded to":    {points: states(120), repairAt: -1, want: follow(120)},
		"differs where it is":      {points: wrong(120), repairAt: -1, want: want{answer: api.Answer_ANSWER_REPAIR, from: 120, since: 120, cut: -1}},
		"differs at a frame":       {points: append(states(130), wrong(100)...), repairAt: -1, want: want{answer: api.Answer_ANSWER_REPAIR, from: 130, since: 130, cut: -1}},
		"differs at the newest":    {points: wrong(100), repairAt: -1, want: want{answer: api.Answer_ANSWER_REPAIR, from: 100, since: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"differs at the oldest":    {points: wrong(50), repairAt: -1, want: want{answer: api.Answer_ANSWER_REPAIR, from: 100, since: 50, cut: 100, heldFrom: 50, heldSince: -1}},
		"differs, and no frame":    {points: wrong(120), repairAt: -1, change: func(r *keyframer.Retained) { r.Frames, r.Bounds.DeltaStart = nil, 120 }, want: want{answer: api.Answer_ANSWER_REPAIR, from: 120, since: 120, cut: -1}},
		"to be repaired":           {points: states(60), repairAt: 60, want: want{answer: api.Answer_ANSWER_REPAIR, from: 100, since: 60, cut: 100, heldFrom: 60, heldSince: -1}},
		"repaired below deltas":    {points: states(20), repairAt: 60, want: want{answer: api.Answer_ANSWER_REPAIR, from: 100, since: 20, cut: 100, heldFrom: 100, heldSince: 20}},
		"repaired below horizon":   {points: states(19), repairAt: 60, want: want{answer: api.Answer_ANSWER_FRAME, from: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"repaired above frames":    {points: states(60), repairAt: 101, err: errNeedsCut},
		"the position lies above":  {points: states(101), repairAt: 60, err: errNeedsCut},
		"repaired without a frame": {points: states(60), repairAt: 0, change: func(r *keyframer.Retained) { r.Frames = nil }, err: errNeedsCut},
		"the epoch ends here":      {points: states(80), repairAt: -1, epoch: 3, want: follow(80)},
		"the epoch ended before":   {points: states(81), repairAt: -1, epoch: 3, want: want{answer: api.Answer_ANSWER_RESET, reason: api.Reason_REASON_DIVERGED, from: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"an epoch to come":         {points: states(0), repairAt: -1, epoch: 4, want: want{answer: api.Answer_ANSWER_RESET, reason: api.Reason_REASON_DIVERGED, from: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"no state, and no frame":   {repairAt: -1, change: func(r *keyframer.Retained) { r.Frames, r.Bounds.DeltaStart = nil, 0 }, want: follow(0)},
		"no state, all is behind":  {repairAt: -1, change: func(r *keyframer.Retained) { r.Bounds.LogStart = 101 }, err: errBehind},
		"the log start is a cut":   {repairAt: -1, change: func(r *keyframer.Retained) { r.Bounds.LogStart = 100 }, want: want{answer: api.Answer_ANSWER_FRAME, from: 100, cut: 100, heldFrom: 100, heldSince: -1}},
		"below, all is behind":     {points: states(30), repairAt: -1, change: func(r *keyframer.Retained) { r.Bounds.LogStart = 101 }, err: errBehind},
		"to repair, all is behind": {points: states(30), repairAt: 30, change: func(r *keyframer.Retained) { r.Bounds.LogStart = 101 }, err: errBehind},
		"no frames, and a start":   {repairAt: -1, change: func(r *keyframer.Retained) { r.Frames, r.Bounds.DeltaStart, r.Bounds.LogStart = nil, 0, 1 }, err: errBehind},
	} {
		r := standing()
		if x.change != nil {
			x.change(r)
		}
		q := &resumption{hasState: len(x.points) > 0, sameLog: true, points: x.points, epoch: -1, repairs: x.repairAt >= 0, repairAt: x.repairAt}
		if x.epoch > 0 {
			q.epoch = x.epoch
		}
		got, err := q.decide(r, func(epoch int32) (int32, int64) {
			if epoch == 3 {
				return 3, 80
			}
			return -1, -1
		})
		if x.err != nil {
			require.ErrorIs(t, err, x.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.NotEmpty(t, got.why, name)
		is := want{answer: got.answer, reason: got.reason, from: got.from, since: got.since, cut: -1, heldFrom: got.heldFrom, heldSince: got.heldSince}
		if got.frame != nil {
			is.cut = got.frame.Cut
		}
		require.Equal(t, x.want, is, name)
	}
}

// Where the log reaches back to the position, it is followed unless what changed is much less: four deltas for each row, beyond the first 8,192.
func TestDecideWhatIsMuchLess(t *testing.T) {
	const cut, since, deltas = 50_000, 1000, 49_000
	const rowsMost = (deltas - 8192) / 4
	for name, x := range map[string]struct {
		position int64
		weighed  weighed
		change   func(*keyframer.Retained, *resumption)
		delta    bool
	}{
		"few rows":                 {position: since, weighed: weighed{cut, 10}, delta: true},
		"as many as may be":        {position: since, weighed: weighed{cut, rowsMost}, delta: true},
		"one too many":             {position: since, weighed: weighed{cut, rowsMost + 1}},
		"a short absence":          {position: cut - 8192, weighed: weighed{cut, 0}},
		"the shortest that counts": {position: cut - 8193, weighed: weighed{cut, 0}, delta: true},
		"nothing is known":         {position: since, weighed: weighed{-1, 0}},
		"of another frame":         {position: since, weighed: weighed{cut - 1, 10}},
		"at the first delta":       {position: since, weighed: weighed{cut, 10}, change: func(r *keyframer.Retained, _ *resumption) { r.Bounds.DeltaStart = since }, delta: true},
		"at the horizon":           {position: since, weighed: weighed{cut, 10}, change: func(r *keyframer.Retained, _ *resumption) { r.Horizon = since }, delta: true},
		"below the horizon":        {position: since, weighed: weighed{cut, 10}, change: func(r *keyframer.Retained, _ *resumption) { r.Horizon = since + 1 }},
		"no frame":                 {position: since, weighed: weighed{cut, 10}, change: func(r *keyframer.Retained, _ *resumption) { r.Frames = nil }},
	} {
		r := &keyframer.Retained{Bounds: log.Bounds{LastStable: cut + 100}, Frames: []table.Frame{{Cut: 500}, {Cut: cut}}, Folded: table.Frame{Cut: cut}}
		q := &resumption{hasState: true, sameLog: true, points: []point{{offset: x.position, digest: digestFrom(1)}}, epoch: -1, weighed: x.weighed}
		if x.change != nil {
			x.change(r, q)
		}
		got, err := q.decide(r, anyEpoch)
		require.NoError(t, err, name)
		require.Equal(t, x.delta, got.orFollow, name)
		if !x.delta {
			require.Equal(t, resumed{answer: api.Answer_ANSWER_CONTINUE, from: x.position, why: got.why}, got, name)
			continue
		}
		frame := r.Frames[1]
		require.Equal(t, resumed{answer: api.Answer_ANSWER_DELTA, from: cut, since: x.position, frame: &frame, heldFrom: cut, heldSince: x.position,
			orFollow: true, why: got.why}, got, name)
		require.NotEmpty(t, got.why)
	}
}

// anyEpoch ends nowhere.
func anyEpoch(int32) (int32, int64) { return -1, -1 }
