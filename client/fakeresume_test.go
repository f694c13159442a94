package client

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// fakeLeases are what a fake plane holds for replicas.
type fakeLeases struct {
	lasts time.Duration

	mu sync.Mutex
	// Guarded by mu.
	given   []*fakeLease
	changed notifier
}

type fakeLease struct {
	id       byte
	cut      int64
	position int64 // as last reported
	renewals int
	released bool
	over     state.Reason // why the log ended it
}

func (l *fakeLeases) give(cut int64) *state.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &fakeLease{id: byte(len(l.given) + 1), cut: cut, position: -1}
	l.given = append(l.given, x)
	l.changed.notify()
	return &state.Lease{Id: []byte{x.id}, Cut: cut, From: cut, ExpiresMs: time.Now().Add(l.lasts).UnixMilli()}
}

// end ends the latest lease.
func (l *fakeLeases) end(why state.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given[len(l.given)-1].over = why
}

// from is the lowest offset that is held.
func (l *fakeLeases) from() int64 {
	from := int64(1 << 62)
	for _, x := range l.all() {
		if !x.released && x.over == 0 {
			from = min(from, max(x.cut, x.position))
		}
	}
	return from
}

func (l *fakeLeases) all() []fakeLease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []fakeLease
	for _, x := range l.given {
		out = append(out, *x)
	}
	return out
}

func refuse(code connect.Code, why state.Reason) error {
	err := connect.NewError(code, fmt.Errorf("%v", why))
	if d, derr := connect.NewErrorDetail(&state.ErrorDetail{Reason: why}); derr == nil {
		err.AddDetail(d)
	}
	return err
}

func (f *fakePlane) RenewLease(_ context.Context, req *connect.Request[state.RenewLeaseRequest]) (*connect.Response[state.RenewLeaseResponse], error) {
	l := &f.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed.notify()
	i := slices.IndexFunc(l.given, func(x *fakeLease) bool { return bytes.Equal(req.Msg.Id, []byte{x.id}) })
	if i < 0 {
		return nil, refuse(connect.CodeNotFound, state.Reason_REASON_LEASE_EXPIRED)
	}
	x := l.given[i]
	if x.over != 0 {
		return nil, refuse(connect.CodeFailedPrecondition, x.over)
	}
	x.renewals++
	x.position, x.released = req.Msg.Position, req.Msg.Release
	resp := &state.RenewLeaseResponse{}
	if !x.released {
		resp.Lease = &state.Lease{Id: req.Msg.Id, Cut: x.cut, ExpiresMs: time.Now().Add(l.lasts).UnixMilli()}
	}
	return connect.NewResponse(resp), nil
}

func (f *fakePlane) Resume(ctx context.Context, req *connect.Request[state.ResumeRequest]) (*connect.Response[state.ResumeResponse], error) {
	if f.old.Load() {
		return f.UnimplementedStateServiceHandler.Resume(ctx, req)
	}
	if full := f.full.Load(); full != nil {
		if why := (*full)(req.Msg); why != state.Reason_REASON_UNSPECIFIED {
			return nil, refuse(connect.CodeUnavailable, why)
		}
	}
	if req.Msg.RepairAt != nil {
		f.repair.resumes.Add(1)
		if err := f.repair.refused("resume", req.Msg.Naming); err != nil {
			return nil, err
		}
	}
	f.log.mu.Lock()
	m := f.log.resumeLocked(req.Msg)
	f.log.mu.Unlock()
	if m == nil {
		return nil, refuse(connect.CodeNotFound, state.Reason_REASON_UNKNOWN_PARTITION)
	}
	m.Partition.Disputed = f.repair.turns.Load()%2 == 1
	if alter := f.alter.Load(); alter != nil {
		(*alter)(req.Msg, m)
	}
	if m.Frame != nil {
		m.Lease = f.leases.give(m.Frame.Cut)
	}
	return connect.NewResponse(m), nil
}

// resumeLocked decides as the broker does.
func (l *fakeLog) resumeLocked(m *state.ResumeRequest) *state.ResumeResponse {
	part := l.parts[m.Partition]
	if part == nil {
		return nil
	}
	if m.RepairAt != nil {
		return l.resumeToRepairLocked(m)
	}
	out := &state.ResumeResponse{Partition: l.partitionLocked(m.Partition)}
	if n := len(part.cuts); n > 0 {
		out.Frame = l.frameLocked(m.Partition, part.cuts[n-1])
		out.From = out.Frame.Cut
	}
	reset := func(why state.Reason) *state.ResumeResponse {
		out.Answer, out.Reason, out.Why = state.Answer_ANSWER_RESET, why, "so it is"
		return out
	}
	goOn := func(from int64) *state.ResumeResponse {
		out.Answer, out.From, out.Frame = state.Answer_ANSWER_CONTINUE, from, nil
		return out
	}
	if len(m.Incarnation) == 0 {
		if out.Answer = state.Answer_ANSWER_FRAME; out.Frame == nil {
			return goOn(part.start)
		}
		return out
	}
	at := m.Points[0].Offset
	switch {
	case !bytes.Equal(m.Incarnation, part.incarnation[:]):
		return reset(state.Reason_REASON_OTHER_INCARNATION)
	case at > part.end:
		return reset(state.Reason_REASON_FUTURE_POSITION)
	}
	for _, p := range m.Points {
		if !slices.Contains(part.cuts, p.Offset) || part.startAt(p.Offset) != p.Start {
			continue
		}
		if d := digestOf(part.states[p.Offset]); d.Count != p.Count || digest.SumFromBytes([32]byte(p.Sum)) != d.Sum {
			out.Answer = state.Answer_ANSWER_REPAIR
			return out
		}
		break
	}
	switch {
	case at >= part.deltaStart:
		return goOn(at)
	case at >= part.horizon:
		out.Answer, out.Since = state.Answer_ANSWER_DELTA, at
	default:
		out.Answer = state.Answer_ANSWER_FRAME
	}
	return out
}

func (l *fakeLog) partitionLocked(p int32) *state.Partition {
	part, id := l.parts[p], l.frameID(p, 0)
	return &state.Partition{
		Partition: p, TopicId: id.TopicID[:], Incarnation: id.Incarnation[:], Fold: l.kind.String(),
		LogStartOffset: part.start, DeltaStartOffset: part.deltaStart, LastStableOffset: part.end, Position: part.end, Horizon: part.horizon,
		Failure: part.failure,
	}
}

func (l *fakeLog) frameLocked(p int32, cut int64) *state.Frame {
	id, d := l.frameID(p, cut), digestOf(l.parts[p].states[cut])
	pub, sum := d.Pub(id), d.Sum.Bytes()
	bytes := 0
	for _, row := range l.parts[p].states[cut] {
		bytes += len(row.Key) + len(row.Value)
	}
	return &state.Frame{
		Partition: p, TopicId: id.TopicID[:], Incarnation: id.Incarnation[:], Cut: cut, Start: id.Start, Pub: pub[:], Sum: sum[:], Count: d.Count,
		Bytes: int64(bytes),
	}
}
