package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

// establish gives the partition a state to follow from. It tries until it has one, ctx ends, or trying is of no use; every failed
// attempt is an event.
func (p *partition) establish(ctx context.Context, fresh bool) error {
	if !fresh {
		ok, err := p.resume(ctx)
		if ok || err != nil {
			return err
		}
	}
	for try := 0; ; try++ {
		err := p.bootstrap(ctx)
		if err == nil {
			return nil
		}
		p.r.fail(p.no, err)
		kind := BootstrapFailed
		if rejected(err) {
			kind = FrameRejected
		}
		p.r.event(Event{Kind: kind, Partition: p.no, Err: err})
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrPartitions) {
			return err
		}
		if err := sleep(ctx, p.r.cfg.Retry<<min(try, 5)); err != nil {
			return err
		}
	}
}

// rejected tells whether it was the frame that did not verify.
func rejected(err error) bool {
	for _, is := range []error{memory.ErrFrame, memory.ErrDigest, table.ErrDigest, table.ErrIdentity, frame.ErrCorrupt, frame.ErrTruncated, frame.ErrTooLarge, frame.ErrVersion} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// resume goes on with a stored state, if there is one that fits the log.
func (p *partition) resume(context.Context) (bool, error) {
	s, ok, err := p.r.stores.open(p.no)
	if err != nil || !ok {
		return false, err
	}
	p.mu.Lock()
	info := p.info
	p.mu.Unlock()
	if info != nil {
		if why, bad := unfit(s, *info); bad {
			p.r.event(Event{Kind: why.event, Partition: p.no, Offset: s.position(), Err: why.err})
			return false, s.close()
		}
	}
	if err := p.adopt(s, 0, Resumed); err != nil {
		return false, err
	}
	p.askNow()
	return true, nil
}

func (p *partition) bootstrap(ctx context.Context) error {
	if p.replaced {
		if err := p.r.checkPartitions(ctx); err != nil {
			return err
		}
		p.replaced = false
	}
	if p.r.plane == nil || p.r.cfg.From == FromEarliest && p.rows() == nil {
		return p.beginEarliest(ctx)
	}
	err := p.beginFrame(ctx, newestFrame)
	if errors.Is(err, errNoFrame) {
		return p.beginEarliest(ctx)
	}
	return err
}

// newestFrame stands for the cut of the newest frame.
const newestFrame = -1

// beginFrame loads the frame at cut. At most BootstrapParallel partitions do so at a time.
func (p *partition) beginFrame(ctx context.Context, cut int64) error {
	select {
	case p.r.loading <- struct{}{}:
		defer func() { <-p.r.loading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := p.r.cfg.Now()
	body, err := p.r.plane.download(ctx, p.no, cut, p.r.cfg.Retry)
	if err != nil {
		return err
	}
	defer body.Close()
	s, h, err := p.r.stores.load(p.no, body)
	if err != nil {
		return err
	}
	if h.Partition != p.no {
		return errors.Join(fmt.Errorf("asked for partition %d, got a frame of partition %d", p.no, h.Partition), s.discard())
	}
	p.log.Info("loaded a key frame", "cut", h.Cut, "bytes", body.at, "took", p.r.cfg.Now().Sub(began).Round(time.Millisecond))
	d, at, err := s.digest()
	if err == nil {
		err = p.adopt(s, h.Start, Bootstrapped)
	}
	if err == nil {
		p.mu.Lock()
		p.verifiedLocked(point{at, d, h.Start})
		p.mu.Unlock()
	}
	return err
}

// beginEarliest starts without rows at the log start; where the log is trimmed, with the frame at the delta start offset, which is
// what the rows below it add up to. Without a state plane they have to be gathered, see gathering.
func (p *partition) beginEarliest(ctx context.Context) error {
	topic, err := p.r.tail.describe(ctx)
	if err != nil {
		return err
	}
	start := topic.starts[p.no]
	id := identity{TopicID: topic.id, Partition: p.no}
	if p.r.plane != nil {
		info, err := p.r.plane.partition(ctx, p.no)
		if err != nil {
			return fmt.Errorf("incarnation of partition %d: %w", p.no, err)
		}
		if info.deltaStart > start {
			return p.beginFrame(ctx, info.deltaStart)
		}
		if start > info.deltaStart { // the state is not what lies above the log start alone: rows leave at a cut
			// Without a frame, whole values will do: what lacks rows below the log start is the log's state from the next cut on.
			if err := p.beginFrame(ctx, newestFrame); !errors.Is(err, errNoFrame) || !wholeValues(topic.fold) {
				return err
			}
		}
		id.TopicID, id.Incarnation = info.topicID, info.incarnation
	}
	s, err := p.r.stores.empty(id, start, topic.fold)
	if err != nil {
		return err
	}
	if p.r.plane == nil && p.rows() != nil {
		if err := p.gather(ctx, s); err != nil {
			return errors.Join(err, s.discard())
		}
	}
	return p.adopt(s, start, Bootstrapped)
}

// adopt makes s the partition's state, at once for all readers; watchers see the difference to the former one.
func (p *partition) adopt(s rows, start int64, kind EventKind) error {
	d, at, err := s.digest()
	if err == nil {
		err = s.remember()
	}
	var verified []point // of a stored state
	if err == nil {
		verified, err = p.r.stores.verified(p.no)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	start = max(start, s.logStart())
	position := Position{s.identity().Incarnation, at, start}
	p.mu.Lock()
	old := p.rows()
	select {
	case <-p.restart: // was meant for the former state
	default:
	}
	if old == nil || !s.perRecord() && !p.watched {
		p.history.begin(position)
	} else if err := p.history.replace(difference(old, s, p.position(), position), p.position(), position); err != nil {
		p.log.Warn("watchers must begin anew: the former state cannot be read", "err", err)
	}
	p.ring.reset(s.perRecord())
	p.ring.add(at, d)
	p.verified = verified
	p.pending, p.compared = nil, at
	p.recallLocked(position.Incarnation, at)
	p.following = true
	p.generation++
	p.current.Store(&s)
	p.start.Store(start)
	p.mu.Unlock()
	if old == nil {
		close(p.ready)
	} else if err := old.discard(); err != nil {
		p.log.Warn("removing the former state", "err", err)
	}
	p.moved.notify()
	p.r.changed.notify()
	p.r.event(Event{Kind: kind, Partition: p.no, Offset: at, Rows: d.Count})
	return nil
}

// difference yields what a holder of the old state must change to have the new one. All but the last resume at the
// old position; or, where the new one is not above it, nowhere: who has only some of them begins anew. A row that cannot be read ends it: the
// watcher's next position is then the old one still, or none.
func difference(old, now rows, oldAt, nowAt Position) iter.Seq2[Change, error] {
	id := now.identity()
	if nowAt.Offset <= oldAt.Offset {
		oldAt.Offset = nowhere
	}
	return holdLast(nowAt, func(yield func(Change, error) bool) {
		for row, err := range now.all() {
			if err != nil {
				yield(Change{}, err)
				return
			}
			before, ok, err := old.get(row.Key)
			if err == nil && ok && bytes.Equal(before.Value, row.Value) {
				continue
			}
			if !yield(toChange(id, &row, oldAt), nil) {
				return
			}
		}
		for row, err := range old.all() {
			if err != nil {
				yield(Change{}, err)
				return
			}
			if _, ok, err := now.get(row.Key); ok && err == nil {
				continue
			}
			gone := frame.Row{Key: row.Key, Offset: nowAt.Offset - 1, Timestamp: row.Timestamp, Tombstone: true}
			if !yield(toChange(id, &gone, oldAt), nil) {
				return
			}
		}
	})
}
