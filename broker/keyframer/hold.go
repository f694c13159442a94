package keyframer

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Holds is what replicas hold while they load a frame, and until they have joined the log's end. *lease.Desk is one.
type Holds interface {
	// Held returns what is held of a partition: raw deltas from from on, tombstones from since on (math.MaxInt64: none), and frames by their cuts.
	// It does not block: it is called under a lock.
	Held(topicID [16]byte, partition int32) (from, since int64, cuts []int64)
	// HeldBack is told that deltas of a partition were to be trimmed, and are held. It may end what holds too much.
	HeldBack(ctx context.Context, topicID [16]byte, partition int32) error
	// Lost is told that all frames of a partition are gone, held or not, while its log has everything.
	Lost(topicID [16]byte, partition int32) error
}

type noHolds struct{}

func (noHolds) Held([16]byte, int32) (from, since int64, cuts []int64) {
	return math.MaxInt64, math.MaxInt64, nil
}
func (noHolds) HeldBack(context.Context, [16]byte, int32) error { return nil }
func (noHolds) Lost([16]byte, int32) error                      { return nil }

// holding is what Holds.Held returns.
type holding struct {
	from, since int64
	cuts        []int64
}

func (p *Partition) holds() (h holding) {
	h.from, h.since, h.cuts = p.k.cfg.Holds.Held(p.topic.ID, p.Index)
	return h
}

// going is what is about to leave: it counts as gone for whoever comes to hold something, though it is there still.
type going struct {
	trim    int64 // the delta start offset moves here
	horizon int64 // tombstones below expire
	thins   bool
	thin    int64 // the frame at this cut is dropped, if thins
}

// letGo begins to drop something, unless it is held: between the look at what is held and the end of the drop nobody comes to hold it. The upkeep
// task alone calls it.
func (p *Partition) letGo(g going) (done func(), ok bool) {
	p.retaining.Lock()
	defer p.retaining.Unlock()
	h := p.holds()
	if g.trim > h.from || g.horizon > h.since || g.thins && slices.Contains(h.cuts, g.thin) {
		return nil, false
	}
	p.going = g
	return func() {
		p.retaining.Lock()
		defer p.retaining.Unlock()
		p.going = going{}
	}, true
}

// Retained is what a partition has, and does not drop before Retain returns.
type Retained struct {
	Bounds  log.Bounds    // DeltaStart as it is after a trim that is under way
	Frames  []table.Frame // oldest first
	Horizon int64         // the lowest offset since when what changed is complete
	Folded  table.Frame   // the table at its position; it has no time

	spoilt map[int64]int64 // see Partition
}

// Newest returns the newest frame, if there is one.
func (r *Retained) Newest() (f table.Frame, ok bool) {
	if len(r.Frames) == 0 {
		return f, false
	}
	return r.Frames[len(r.Frames)-1], true
}

// Sound returns the newest frame of which nothing is known to be damaged in what changed since an offset (-1: all of it), if there is one.
func (r *Retained) Sound(since int64) (f table.Frame, ok bool) {
	for _, f := range slices.Backward(r.Frames) {
		if at, damaged := r.spoilt[f.Cut]; !damaged || since > at {
			return f, true
		}
	}
	return f, false
}

// Retain calls fn, which does not block, with what is retained. What fn comes to hold of it (see Holds) stays. The log start alone may move at any
// time, and the newest frame be superseded for it, see the package doc. Errors: as Table, and fn's.
func (p *Partition) Retain(fn func(Retained) error) error {
	t, err := p.Table()
	if err != nil {
		return err
	}
	p.retaining.Lock()
	defer p.retaining.Unlock()
	r := Retained{Bounds: p.log.Bounds()}
	r.Folded, r.Frames, r.Horizon = t.Standing()
	r.Bounds.DeltaStart = max(r.Bounds.DeltaStart, p.going.trim)
	r.Horizon = max(r.Horizon, p.going.horizon)
	r.Frames = slices.DeleteFunc(r.Frames, func(f table.Frame) bool {
		return f.Cut < r.Bounds.DeltaStart || p.going.thins && f.Cut == p.going.thin
	})
	for cut := range p.spoilt {
		if !slices.ContainsFunc(r.Frames, func(f table.Frame) bool { return f.Cut == cut }) {
			delete(p.spoilt, cut)
		}
	}
	r.spoilt = p.spoilt
	return fn(r)
}

// BytesFrom is how many bytes of raw deltas a partition has from an offset on; 0 where there is no such partition, or it is being closed.
func (k *Keyframer) BytesFrom(ctx context.Context, topicID [16]byte, partition int32, from int64) (int64, error) {
	for _, t := range *k.topics.Load() {
		if t.ID != topicID {
			continue
		}
		p, err := t.Partition(partition)
		if err != nil {
			return 0, nil
		}
		n, err := p.log.BytesFrom(ctx, from)
		if errors.Is(err, log.ErrClosed) {
			return 0, nil
		}
		return n, err
	}
	return 0, nil
}
