package state

import (
	"context"
	"errors"
	"slices"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/replicas"
	api "github.com/keyframelog/keyframe/proto/state"
)

// Frames implements the call.
func (s *service) Frames(ctx context.Context, req *connect.Request[api.FramesRequest], stream *connect.ServerStream[api.FramesResponse]) error {
	m := req.Msg
	sel, err := s.selectPartitions(m.Topic, m.Partition)
	if err != nil {
		return err
	}
	changed, disputes := sel.topic.Changed(), s.cfg.Replicas.Changed()
	seen := map[int32]frameKey{} // newest that was sent
	standings := s.cfg.Replicas.Standings(sel.topic.ID)
	first := &api.FramesResponse{Partitions: describeAll(sel, sel.partitions, standings)}
	if first.Frames, err = newFrames(sel, seen); err != nil {
		return err
	}
	if !m.Follow {
		return stream.Send(first)
	}
	alive := newPulse(s.cfg.Alive, stream.Send, func(m *api.FramesResponse, ms int64) { m.AliveMs = ms })
	defer alive.stop()
	if err := alive.send(first); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return describe(sel.topic, nil, ctx.Err())
		case <-s.closing:
			return connect.NewError(connect.CodeUnavailable, errors.New("the broker is shutting down"))
		case <-alive.due():
			if err := alive.beat(); err != nil {
				return err
			}
			continue
		case <-changed:
		case <-disputes:
		}
		changed, disputes = sel.topic.Changed(), s.cfg.Replicas.Changed()
		was := standings
		standings = s.cfg.Replicas.Standings(sel.topic.ID)
		again := slices.DeleteFunc(slices.Clone(sel.partitions), func(p *keyframer.Partition) bool { return standings[p.Index] == was[p.Index] })
		if m.Partition == nil {
			again = append(again, sel.grow()...)
		}
		next := &api.FramesResponse{Partitions: describeAll(sel, again, standings)}
		if next.Frames, err = newFrames(sel, seen); err != nil {
			return err
		}
		if len(next.Frames) == 0 && len(next.Partitions) == 0 {
			continue
		}
		if err := alive.send(next); err != nil {
			return err
		}
	}
}

// describeAll describes partitions, and how they stand.
func describeAll(sel selection, partitions []*keyframer.Partition, standings map[int32]replicas.Standing) (out []*api.Partition) {
	for _, p := range partitions {
		d := partitionOf(sel.topic, p)
		d.Disputed = standings[p.Index].Disputed
		out = append(out, d)
	}
	return out
}

// grow selects the partitions that have come since all were, and returns them.
func (sel *selection) grow() (more []*keyframer.Partition) {
	all := sel.topic.Partitions()
	more = all[len(sel.partitions):]
	sel.partitions = all
	return more
}

// frameKey identifies a frame within one incarnation: at one cut, one with a higher start supersedes another.
type frameKey struct{ cut, start int64 }

func (k frameKey) above(o frameKey) bool { return k.cut > o.cut || k.cut == o.cut && k.start > o.start }

// newFrames lists the frames above those seen. One that a trim has just passed is in its table for a moment still, and is none: no state is read from it.
func newFrames(sel selection, seen map[int32]frameKey) (frames []*api.Frame, err error) {
	for _, p := range sel.partitions {
		t, err := p.Table()
		if errors.Is(err, keyframer.ErrFailed) {
			continue // its description says so
		}
		if err != nil {
			return nil, describe(sel.topic, p, err)
		}
		there := t.Frames()
		first := p.Bounds().DeltaStart // read after them: it does not go back
		for _, f := range there {
			key := frameKey{f.Cut, f.Start}
			if newest, ok := seen[p.Index]; f.Cut < first || ok && !key.above(newest) {
				continue
			}
			seen[p.Index] = key
			frames = append(frames, frameOf(sel.topic, p, t, f))
		}
	}
	return frames, nil
}

func partitionOf(t *keyframer.Topic, p *keyframer.Partition) *api.Partition {
	b := p.Bounds()
	d := &api.Partition{
		Partition: p.Index, TopicId: t.ID[:], Incarnation: p.Incarnation[:], Fold: t.Fold.String(), LogStartOffset: b.LogStart,
		DeltaStartOffset: b.DeltaStart, LastStableOffset: b.LastStable, Position: p.Position(),
	}
	if err := p.Failure(); err != nil {
		d.Failure = err.Error()
	}
	if tab, err := p.Table(); err == nil {
		d.FoldedPosition, d.Horizon = tab.Position(), tab.Horizon()
	}
	return d
}

// Cut implements the call.
func (s *service) Cut(ctx context.Context, req *connect.Request[api.CutRequest]) (*connect.Response[api.CutResponse], error) {
	t, err := s.topic(req.Msg.Topic)
	if err != nil {
		return nil, err
	}
	if req.Msg.Partition != nil {
		return s.cutPartition(ctx, t, req.Msg)
	}
	cutAll := s.cfg.Keyframer.CutToKeep
	if req.Msg.Passing {
		cutAll = s.cfg.Keyframer.Cut
	}
	cut, err := cutAll(ctx, t.Name)
	if err != nil {
		return nil, describe(t, nil, err)
	}
	answer := &api.CutResponse{Name: cut.Name, Consistent: cut.Consistent}
	for _, f := range cut.Frames {
		tab, err := f.Partition.Table()
		if err != nil {
			return nil, describe(t, f.Partition, err)
		}
		answer.Frames = append(answer.Frames, frameOf(t, f.Partition, tab, f.Frame))
	}
	return connect.NewResponse(answer), nil
}

// cutPartition cuts one partition, unless a frame is there that will do.
func (s *service) cutPartition(ctx context.Context, t *keyframer.Topic, m *api.CutRequest) (*connect.Response[api.CutResponse], error) {
	sel, err := s.selectPartitions(t.Name, m.Partition)
	if err != nil {
		return nil, err
	}
	p := sel.partitions[0]
	f, err := s.cfg.Keyframer.CutAt(ctx, t.Name, p.Index, m.MinOffset)
	if errors.Is(err, keyframer.ErrAboveStable) {
		err = refuseAt(api.Reason_REASON_ABOVE_LAST_STABLE, t, p, m.MinOffset, "%w", err)
	}
	if err != nil {
		return nil, describe(t, p, err)
	}
	tab, err := p.Table()
	if err != nil {
		return nil, describe(t, p, err)
	}
	return connect.NewResponse(&api.CutResponse{Consistent: true, Frames: []*api.Frame{frameOf(t, p, tab, f)}}), nil
}
