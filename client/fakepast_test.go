package client

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
)

// fakePast is what a fakePlane does when it is asked about offsets of the past.
type fakePast struct {
	diffs, scans atomic.Int64
	refuse       atomic.Bool                         // scans fail, for good
	breaks       atomic.Pointer[func(row int) error] // why a scan breaks off before a row, counted from 0; nil: it does not
}

// refuseRepairs has the plane say that its rows are damaged.
func (f *fakePlane) refuseRepairs() {
	corrupt := func(string) state.Reason { return state.Reason_REASON_BROKER_CORRUPT }
	f.repair.refuse.Store(&corrupt)
}

// stateFor is the log's state at an offset that somebody asks for.
func (f *fakePlane) stateFor(p int32, at *state.At) (rows map[string]frame.Row, asOf *state.AsOf, err error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	part, offset := f.log.parts[p], at.GetOffset()
	switch {
	case part == nil:
		return nil, nil, refuse(connect.CodeNotFound, state.Reason_REASON_UNKNOWN_PARTITION)
	case offset < part.deltaStart && !slices.Contains(part.cuts, offset):
		return nil, nil, refuse(connect.CodeOutOfRange, state.Reason_REASON_BELOW_DELTA_START)
	case offset > part.end:
		return nil, nil, refuse(connect.CodeOutOfRange, state.Reason_REASON_ABOVE_LAST_STABLE)
	}
	return f.log.stateLocked(p, offset), &state.AsOf{Partition: p, Incarnation: part.incarnation[:], Offset: offset}, nil
}

func (f *fakePlane) Diff(_ context.Context, req *connect.Request[state.DiffRequest], s *connect.ServerStream[state.DiffResponse]) error {
	f.past.diffs.Add(1)
	m := req.Msg
	from, fromAsOf, err := f.stateFor(m.GetPartition(), m.From)
	if err != nil {
		return err
	}
	to, toAsOf, err := f.stateFor(m.GetPartition(), m.To)
	if err != nil {
		return err
	}
	both := maps.Clone(from)
	maps.Copy(both, to)
	out := &state.DiffResponse{From: []*state.AsOf{fromAsOf}, To: []*state.AsOf{toAsOf}}
	for _, key := range slices.Sorted(maps.Keys(both)) {
		before, had := from[key]
		after, has := to[key]
		row := &state.DiffRow{Partition: m.GetPartition(), Key: []byte(key)}
		if had {
			row.Before = &state.Row{Key: []byte(key), Value: before.Value}
		}
		if has {
			row.After = &state.Row{Key: []byte(key), Value: after.Value}
		}
		if had != has || string(before.Value) != string(after.Value) {
			out.Rows = append(out.Rows, row)
		}
	}
	return s.Send(out)
}

func (f *fakePlane) Scan(_ context.Context, req *connect.Request[state.ScanRequest], s *connect.ServerStream[state.ScanResponse]) error {
	f.past.scans.Add(1)
	m := req.Msg
	if f.past.refuse.Load() {
		return refuse(connect.CodeUnavailable, state.Reason_REASON_PARTITION_FAILED)
	}
	rows, asOf, err := f.stateFor(m.GetPartition(), m.At)
	if err != nil {
		return err
	}
	if err := s.Send(&state.ScanResponse{AsOf: []*state.AsOf{asOf}}); err != nil {
		return err
	}
	for i, key := range slices.Sorted(maps.Keys(rows)) {
		row := rows[key]
		if b := f.past.breaks.Load(); b != nil {
			if err := (*b)(i); err != nil {
				return err
			}
		}
		if err := s.Send(&state.ScanResponse{Rows: []*state.Row{{Key: row.Key, Value: row.Value, Offset: row.Offset}}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakePlane) Cut(_ context.Context, req *connect.Request[state.CutRequest]) (*connect.Response[state.CutResponse], error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	p := req.Msg.GetPartition()
	cuts := f.log.parts[p].cuts
	i := slices.IndexFunc(cuts, func(cut int64) bool { return cut >= req.Msg.MinOffset })
	if i < 0 {
		return connect.NewResponse(&state.CutResponse{Frames: []*state.Frame{f.log.frameLocked(p, f.log.cutLocked(p))}}), nil
	}
	return connect.NewResponse(&state.CutResponse{Frames: []*state.Frame{f.log.frameLocked(p, cuts[i])}}), nil
}
