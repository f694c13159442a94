package client

import (
	"context"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/storage/table"
)

// RepairCost is what putting a copy right is expected to cost.
type RepairCost struct {
	Method     Method
	Keys       int64 // to be put right, without those that differ and that what follows in the log overwrites, as far as that is known
	Bytes      int64 // to be received
	FrameBytes int64 // of a whole key frame, in place of which that is; 0: there is none, or it has no rows
	Refused    error // why the broker would give nothing to repair from (plane.ErrUnrepairable); nil: it would, or is not asked
}

const (
	cellBytes   = 13 // of a cell of a sketch; of one of many rows it is one more
	manyRows    = 1 << 14
	answerBytes = 135 // of an answer with cells, beside these
)

// costOfWhole is that of loading the newest frame in place of a copy; zero where there is none.
func (v *dirVerifier) costOfWhole(ctx context.Context, log logInfo) RepairCost {
	if len(log.frames) == 0 {
		return RepairCost{}
	}
	whole := v.wire(ctx, newest(log.frames)).frame
	return RepairCost{Method: ByFrame, Bytes: whole, FrameBytes: whole}
}

// refusedIn is a cost of what is refused in a dispute.
func (c RepairCost) refusedIn(log logInfo) RepairCost {
	asked := c.Method != ByLog && c.Method != ByRows
	if asked && log.info.Disputed && c.Refused == nil {
		c.Refused = plane.ErrDisputed
	}
	return c
}

// overwritten tells of the keys that differ which the log has changed between the position and the cut that a repair is made at, where that is not the one
// of the frame.
func (v *dirVerifier) overwritten(ctx context.Context, here *carried, keys []Difference, f plane.Frame, mendAt int64) map[string]bool {
	if mendAt == f.Cut || mendAt == here.from {
		return nil
	}
	over := make(map[string]bool, len(keys))
	for _, k := range keys {
		over[string(k.Key)] = false
	}
	if err := v.call(ctx, func(ctx context.Context) error {
		return v.plane.Diff(ctx, f.Partition, f.Incarnation, here.from, mendAt, func(x plane.Changed) error {
			if _, differs := over[string(x.Key)]; differs {
				over[string(x.Key)] = true
			}
			return nil
		})
	}); err != nil {
		v.cfg.Logger.Warn("what the log has overwritten since is not known: a repair may cost less", "partition", f.Partition, "err", err)
	}
	return over
}

// repairCost is what it costs to put right the keys that differ at the position. spent is what it took to find them with a frame. A repair is made at a cut
// at or above the position, of the same frame or another, where those differ that nothing has overwritten by then.
func (c *carried) repairCost(keys []Difference, overwritten map[string]bool, spent RepairCost, f plane.Frame, w wireCost, mendAt int64) RepairCost {
	left, moved := make([]Difference, 0, len(keys)), 0
	for _, k := range keys {
		_, is := c.moved[string(k.Key)]
		over := overwritten[string(k.Key)]
		if is && !c.blind {
			over = over || c.cut > c.from
			moved++
		}
		if over && c.kind().WholeValues() {
			continue
		}
		left = append(left, k)
	}
	cost := spent
	switch {
	case len(left) == 0 && len(keys) > 0:
		cost.Method, cost.Bytes = ByLog, 0
	case spent.Method != ByFrame && (moved > 0 || mendAt != f.Cut):
		cost = estimate(left, f, w)
	}
	cost.Keys, cost.FrameBytes, cost.Refused = int64(len(left)), w.frame, spent.Refused
	return cost
}

// estimate is what a repair takes for keys that differ from a frame that is about as another one: how many cells tell them does not depend on the rows that
// are equal.
func estimate(keys []Difference, f plane.Frame, w wireCost) RepairCost {
	var theirs, ours []uint64
	for _, k := range keys {
		if k.Log != (digest.Entry{}) {
			theirs = append(theirs, plane.TagOf(k.Log))
		}
		for _, e := range []digest.Entry{k.Here, k.Applied} {
			if e != (digest.Entry{}) {
				ours = append(ours, plane.TagOf(e))
			}
		}
	}
	count, fetched := max(f.Digest.Count, 1), int64(len(theirs))
	if fetched > max(fewKeys, count/2) {
		return RepairCost{Method: ByFrame, Bytes: w.frame}
	}
	size := int64(cellBytes)
	if count > manyRows {
		size++
	}
	cost := RepairCost{Method: BySketch, Bytes: fetched * (f.Bytes/count + w.row)}
	d, e := sketch.NewDecoder(ours), sketch.NewEncoder(theirs)
	for n := d.More(); n > 0; n = d.More() {
		if done := int64(d.Cells()); done > 0 && size*(done+int64(n)) > 8*count {
			cost.Method, cost.Bytes = ByTags, cost.Bytes+8*count
			break
		}
		if _, err := d.Add(e.Next(nil, n)); err != nil {
			return RepairCost{Method: ByFrame, Bytes: w.frame}
		}
		cost.Bytes += answerBytes + size*int64(n)
	}
	return cost
}

// costOfOthers is the cost of a repair that fetches the rows that cannot be read with those that differ, but for those that the log changes until then.
func (c *carried) costOfOthers(cost RepairCost, f plane.Frame, w wireCost) RepairCost {
	others := int64(len(c.applied))
	for key, was := range c.applied {
		if _, moved := c.moved[key]; moved && c.cut > c.from || c.named[key] || was.offset < c.start {
			others--
		}
	}
	if others == 0 {
		return cost
	}
	if cost.Method == ByLog {
		cost.Method = ByIndex
	}
	cost.Keys += others
	cost.Bytes += others * (f.Bytes/max(f.Digest.Count, 1) + w.row)
	return cost
}

// costOfUnread estimates what it takes to bring back rows that cannot be read, but for those below start, which have left the log: the whole key frame,
// unless it is known which they are.
func (v *dirVerifier) costOfUnread(ctx context.Context, s rows, start int64, f plane.Frame) RepairCost {
	w := v.wire(ctx, f)
	if d, ok := s.(*dirRows); ok {
		if d.t.Reindexable(ctx) == nil {
			return RepairCost{Method: ByRows, FrameBytes: w.frame}
		}
	}
	count, lost := int64(0), int64(0)
	_, _, err := s.salvage(func([]byte, digest.Entry) { count++ }, func(row table.LostRow) {
		if row.Offset >= start {
			lost++
		}
	})
	size, beside := f.Bytes, false
	if d, ok := s.(*dirRows); ok { // it has as much, whether the log has a frame now or not
		size, beside = d.t.Bytes(), len(d.lost.spans) > 0
	}
	switch {
	case err == nil && lost == 0 && beside: // the damaged blocks have superseded rows alone
		return RepairCost{Method: ByRehash, FrameBytes: w.frame}
	case err != nil || lost == 0:
		return RepairCost{Method: ByFrame, Bytes: w.frame, FrameBytes: w.frame}
	}
	return RepairCost{Method: ByIndex, Keys: lost, Bytes: lost * (size/(count+lost) + w.row), FrameBytes: w.frame}
}
