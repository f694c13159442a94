package state

import (
	"bytes"
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/broker/keyframer"
	api "github.com/keyframelog/keyframe/proto/state"
)

// watch is one call of Watch. It holds positions and one page of changes, and nothing of log or tables while it waits for its client: who is
// slow falls behind, and reads on from where it is.
type watch struct {
	*service
	sel    selection
	prefix []byte
	all    bool // partitions that the topic gets are watched too
	parts  []*watched
	wake   chan struct{}
	alive  *pulse[api.WatchResponse]
}

// Watch implements the call.
func (s *service) Watch(ctx context.Context, req *connect.Request[api.WatchRequest], stream *connect.ServerStream[api.WatchResponse]) error {
	m := req.Msg
	sel, err := s.selectPartitions(m.Topic, m.Partition)
	if err != nil {
		return err
	}
	end, err := s.beginWatch(m.Topic)
	if err != nil {
		return err
	}
	defer end()
	alive := newPulse(s.cfg.Alive, stream.Send, func(m *api.WatchResponse, ms int64) { m.AliveMs = ms })
	defer alive.stop()
	w := &watch{service: s, sel: sel, prefix: m.Prefix, all: m.Partition == nil, wake: make(chan struct{}, 1), alive: alive}
	defer w.close()
	return w.run(ctx, m)
}

// beginWatch admits one watch.
func (s *service) beginWatch(topic string) (end func(), err error) {
	select {
	case <-s.watches:
	default:
		s.metrics.refusedWatches.Inc()
		return nil, refuse(api.Reason_REASON_TOO_MANY_WATCHES, &api.ErrorDetail{Topic: topic}, "%d watches are open already: try again", s.cfg.Watches)
	}
	s.metrics.watches.Inc()
	return func() {
		s.metrics.watches.Dec()
		s.watches <- struct{}{}
	}, nil
}

func (w *watch) run(ctx context.Context, m *api.WatchRequest) error {
	changed := w.sel.topic.Changed()
	if err := w.begin(ctx, m); err != nil {
		return err
	}
	for {
		if err := w.tellAll(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return describe(w.sel.topic, nil, ctx.Err())
		case <-w.closing:
			return connect.NewError(connect.CodeUnavailable, errors.New("the broker is shutting down"))
		case <-w.alive.due():
			if err := w.alive.beat(); err != nil {
				return err
			}
		case <-w.wake:
		case <-changed:
			changed = w.sel.topic.Changed()
			if err := w.follow(); err != nil {
				return err
			}
		}
	}
}

// follow takes note of what has become of the topic.
func (w *watch) follow() error {
	if err := w.keyFramed(); err != nil {
		return err
	}
	if w.all {
		for _, p := range w.sel.grow() {
			w.add(p, &watched{target: p.Bounds().LastStable})
		}
	}
	return nil
}

func (w *watch) keyFramed() error {
	t := w.sel.topic
	if !t.Settings().Paused {
		return nil
	}
	return refuse(api.Reason_REASON_NOT_KEY_FRAMED, &api.ErrorDetail{Topic: t.Name},
		"topic %q is not key-framed: its rows do not change any more; keyframe state scan %s --folded reads them", t.Name, t.Name)
}

// begin finds out where each partition begins.
func (w *watch) begin(ctx context.Context, m *api.WatchRequest) error {
	if err := w.keyFramed(); err != nil {
		return err
	}
	from, err := w.points(m.From)
	if err != nil {
		return err
	}
	atEnd := selection{topic: w.sel.topic}
	for _, p := range w.sel.partitions {
		end := p.Bounds().LastStable
		point, named := from[p.Index]
		switch {
		case named:
			w.add(p, &watched{at: point.Offset, start: point.Start, target: end})
		case m.FromStart || len(from) > 0: // who goes on did not know of this one yet
			w.add(p, &watched{anew: true})
		default:
			atEnd.partitions = append(atEnd.partitions, p)
			w.add(p, &watched{at: end, target: end})
		}
	}
	if err := w.wait(ctx, atEnd, nil); err != nil {
		return err
	}
	for _, x := range w.parts {
		if _, named := from[x.p.Index]; !named && !x.anew {
			if err := x.look(); err != nil {
				return w.describe(x, err)
			}
		}
	}
	return nil
}

// points checks where a request goes on.
func (w *watch) points(list []*api.AsOf) (map[int32]*api.AsOf, error) {
	from := map[int32]*api.AsOf{}
	t := w.sel.topic
	for _, point := range list {
		if from[point.Partition] != nil {
			return nil, w.sel.ambiguous("partition %d is named twice", point.Partition)
		}
		p, err := t.Partition(point.Partition)
		if err != nil {
			return nil, refuse(api.Reason_REASON_UNKNOWN_PARTITION, &api.ErrorDetail{Topic: t.Name, Partition: &point.Partition},
				"topic %q has no partition %d", t.Name, point.Partition)
		}
		switch end := p.Bounds().LastStable; {
		case !bytes.Equal(point.Incarnation, p.Incarnation[:]):
			return nil, refuseAt(api.Reason_REASON_OTHER_INCARNATION, t, p, point.Offset,
				"partition %d of topic %q was created anew: its incarnation is %x, and offsets of another mean nothing there: watch it from the start",
				p.Index, t.Name, p.Incarnation)
		case point.Offset < 0 || point.Start < 0:
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("offset and start are not negative"))
		case point.Start > p.Bounds().LogStart:
			return nil, refuseAt(api.Reason_REASON_FUTURE_POSITION, t, p, point.Start,
				"log start %d is above that of partition %d, %d: it is of another log", point.Start, p.Index, p.Bounds().LogStart)
		case point.Offset > end:
			return nil, refuseAt(api.Reason_REASON_FUTURE_POSITION, t, p, point.Offset,
				"offset %d of partition %d is above the last stable offset %d: it is of another log, or this one has lost its end", point.Offset, p.Index, end)
		}
		from[point.Partition] = point
	}
	return from, nil
}

// add begins to watch a partition.
func (w *watch) add(p *keyframer.Partition, x *watched) {
	x.p, x.said, x.saidStart = p, x.at, x.start
	x.changed.Store(true)
	x.cancel = p.Watch(func() {
		x.changed.Store(true)
		deadline.Wake(w.wake)
	})
	w.parts = append(w.parts, x)
}

func (w *watch) close() {
	for _, x := range w.parts {
		x.cancel()
	}
}

// tellAll tells what there is, a page of each partition in turn.
func (w *watch) tellAll(ctx context.Context) error {
	for busy := true; busy; {
		busy = false
		for _, x := range w.parts {
			if !x.changed.Swap(false) {
				continue
			}
			more, err := w.tell(ctx, x)
			if err != nil {
				return w.describe(x, err)
			}
			if more {
				x.changed.Store(true)
				busy = true
			}
			if err := w.alive.beatIfDue(); err != nil { // few of many rows may have the prefix
				return err
			}
		}
		select {
		case <-w.closing:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
	}
	return nil
}

func (w *watch) describe(x *watched, err error) error {
	if _, now := x.p.Live(); errors.Is(now, keyframer.ErrUnknownTopic) { // whatever its end looked like from below
		t := w.sel.topic
		return refuse(api.Reason_REASON_TOPIC_DELETED, &api.ErrorDetail{Topic: t.Name}, "topic %q was deleted", t.Name)
	}
	return describe(w.sel.topic, x.p, err)
}
