package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
)

// fakeRepair is what a fakePlane does when it is asked for a repair.
type fakeRepair struct {
	refuse  atomic.Pointer[func(call string) state.Reason] // UNSPECIFIED: it answers
	cells   atomic.Pointer[func(first int, cells []sketch.Cell) []sketch.Cell]
	tags    atomic.Pointer[func([]uint64) []uint64]
	rows    atomic.Pointer[func([]*state.Row) []*state.Row]
	rowsMax atomic.Int64 // in a message; 0: 1,000
	old     atomic.Bool  // it knows of no repairs
	broken  atomic.Int64 // so many calls of Resolve break off before their end

	sketches, tagged, resolves, resumes atomic.Int64
	turns                               atomic.Int64 // disputes that have begun or ended
}

// dispute begins a dispute of all partitions, or ends it; who follows the frames is told.
func (f *fakePlane) dispute(begins bool) {
	f.repair.refuse.Store(nil)
	if begins {
		disputed := func(string) state.Reason { return state.Reason_REASON_DISPUTED }
		f.repair.refuse.Store(&disputed)
	}
	f.repair.turns.Add(1)
	f.log.changed.notify()
}

func (f *fakeRepair) refused(call string, naming bool) error {
	if f.old.Load() {
		return connect.NewError(connect.CodeUnimplemented, nil)
	}
	if reason := f.refuse.Load(); reason != nil {
		if why := (*reason)(call); why != state.Reason_REASON_UNSPECIFIED && (!naming || why != state.Reason_REASON_DISPUTED) {
			return refuse(connect.CodeFailedPrecondition, why)
		}
	}
	return nil
}

// repairFrame finds the frame that a repair is about, and its rows by tag.
func (f *fakePlane) repairFrame(call string, p int32, incarnation []byte, cut int64, naming bool) (*state.Frame, map[uint64]frame.Row, error) {
	if err := f.repair.refused(call, naming); err != nil {
		return nil, nil, err
	}
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	part := f.log.parts[p]
	switch {
	case part == nil || !slices.Contains(part.cuts, cut):
		return nil, nil, refuse(connect.CodeNotFound, state.Reason_REASON_UNKNOWN_FRAME)
	case !bytes.Equal(incarnation, part.incarnation[:]):
		return nil, nil, refuse(connect.CodeFailedPrecondition, state.Reason_REASON_OTHER_INCARNATION)
	}
	var h digest.Hasher
	rows := map[uint64]frame.Row{}
	for _, row := range part.states[cut] {
		rows[plane.TagOf(h.Entry(row.Key, row.Value))] = row
	}
	return f.log.frameLocked(p, cut), rows, nil
}

func (f *fakePlane) Sketch(_ context.Context, req *connect.Request[state.SketchRequest], s *connect.ServerStream[state.SketchResponse]) error {
	f.repair.sketches.Add(1)
	m := req.Msg
	fr, rows, err := f.repairFrame("sketch", m.Partition, m.Incarnation, m.Cut, m.Naming)
	if err != nil {
		return err
	}
	cells := sketch.NewEncoder(slices.Collect(maps.Keys(rows))).Next(nil, int(m.First+m.Cells))[m.First:]
	if alter := f.repair.cells.Load(); alter != nil {
		cells = (*alter)(int(m.First), cells)
	}
	b := sketch.Append(nil, int(m.First), fr.Count, cells)
	if err := s.Send(&state.SketchResponse{Frame: fr, Cells: b[:len(b)/2]}); err != nil {
		return err
	}
	return s.Send(&state.SketchResponse{Cells: b[len(b)/2:]})
}

func (f *fakePlane) Tags(_ context.Context, req *connect.Request[state.TagsRequest], s *connect.ServerStream[state.TagsResponse]) error {
	f.repair.tagged.Add(1)
	m := req.Msg
	fr, rows, err := f.repairFrame("tags", m.Partition, m.Incarnation, m.Cut, m.Naming)
	if err != nil {
		return err
	}
	tags := slices.Collect(maps.Keys(rows))
	if alter := f.repair.tags.Load(); alter != nil {
		tags = (*alter)(tags)
	}
	if err := s.Send(&state.TagsResponse{Frame: fr}); err != nil {
		return err
	}
	for part := range slices.Chunk(tags, 1000) {
		var b []byte
		for _, t := range part {
			b = binary.BigEndian.AppendUint64(b, t)
		}
		if err := s.Send(&state.TagsResponse{Tags: b}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakePlane) Resolve(_ context.Context, req *connect.Request[state.ResolveRequest], s *connect.ServerStream[state.ResolveResponse]) error {
	f.repair.resolves.Add(1)
	m := req.Msg
	_, rows, err := f.repairFrame("resolve", m.Partition, m.Incarnation, m.Cut, m.Naming)
	if err != nil {
		return err
	}
	var out []*state.Row
	last := &state.ResolveResponse{}
	for b := m.Tags; len(b) > 0; b = b[8:] {
		row, ok := rows[binary.BigEndian.Uint64(b)]
		if !ok {
			last.Unknown = append(last.Unknown, b[:8]...)
			continue
		}
		x := &state.Row{Partition: m.Partition, Key: row.Key, Value: row.Value, Offset: row.Offset, TimestampMs: row.Timestamp}
		for k, v := range row.Headers.All() {
			x.Headers = append(x.Headers, &state.Header{Key: k, Value: v})
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *state.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	if alter := f.repair.rows.Load(); alter != nil {
		out = (*alter)(out)
	}
	for part := range slices.Chunk(out, int(cmp.Or(f.repair.rowsMax.Load(), 1000))) {
		if err := s.Send(&state.ResolveResponse{Rows: part}); err != nil {
			return err
		}
	}
	if f.repair.broken.Add(-1) >= 0 {
		return connect.NewError(connect.CodeUnavailable, nil)
	}
	return s.Send(last)
}

// resumeToRepairLocked answers who asks for a frame to be repaired from: one that is there, or one that is cut for it.
func (l *fakeLog) resumeToRepairLocked(m *state.ResumeRequest) *state.ResumeResponse {
	part := l.parts[m.Partition]
	i := slices.IndexFunc(part.cuts, func(cut int64) bool { return cut >= *m.RepairAt })
	if i < 0 {
		l.cutLocked(m.Partition)
		i = len(part.cuts) - 1
	}
	return &state.ResumeResponse{
		Answer: state.Answer_ANSWER_REPAIR, Partition: l.partitionLocked(m.Partition), From: part.cuts[i], Frame: l.frameLocked(m.Partition, part.cuts[i]),
	}
}
