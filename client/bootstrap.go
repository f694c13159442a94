package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

// rejected tells whether it was the frame that did not verify.
func rejected(err error) bool {
	for _, is := range []error{memory.ErrFrame, memory.ErrDigest, table.ErrDigest, table.ErrIdentity, frame.ErrCorrupt, frame.ErrTruncated, frame.ErrTooLarge, frame.ErrBeyond, frame.ErrVersion} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// alone gives the partition a state without the handshake: a stored one that fits the log, as far as that is known, the newest frame, or what
// the log begins with.
func (p *partition) alone(ctx context.Context, have standing) error {
	if have.rows != nil && !have.shown {
		if why, bad := p.unfitStored(have.rows); !bad {
			p.askNow()
			return p.adopt(have.rows, 0, Event{Kind: Resumed})
		} else if !p.told {
			p.told = true
			p.r.event(Event{Kind: why.event, Partition: p.no, Offset: have.rows.position(), Err: why.err})
		}
	}
	if p.r.plane == nil || p.r.cfg.From == FromEarliest && p.rows() == nil {
		return p.beginEarliest(ctx)
	}
	l, err := p.listed(ctx)
	if err != nil {
		return err
	}
	if l.Newest == nil && l.Failure == "" {
		return p.beginEarliest(ctx)
	}
	return p.beginListed(ctx, l, l.Newest)
}

// unfitStored is unfit where anything is known of the log.
func (p *partition) unfitStored(s rows) (restart, bool) {
	p.mu.Lock()
	info := p.info
	p.mu.Unlock()
	if info == nil {
		return restart{}, false
	}
	return unfit(s, *info)
}

// listed asks what the log holds of the partition, and which frames it keeps.
func (p *partition) listed(ctx context.Context) (plane.Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	l, err := p.r.plane.Listed(ctx, p.no)
	if err != nil {
		return l, fmt.Errorf("key frames of partition %d: %w", p.no, err)
	}
	return l, nil
}

// beginListed begins with a frame of a list; nil: it has none.
func (p *partition) beginListed(ctx context.Context, l plane.Listing, f *plane.Frame) error {
	if err := p.mayTakePlace(l.Partition, f, false); err != nil {
		return err
	}
	switch {
	case f != nil:
		return p.loadFrame(ctx, *f)
	case l.Failure != "":
		return fmt.Errorf("%w: the broker cannot fold partition %d: %s", plane.ErrNoFrame, p.no, l.Failure)
	}
	return fmt.Errorf("%w: partition %d", plane.ErrNoFrame, p.no)
}

// adoptFrame is adopt of what a frame was loaded into.
func (p *partition) adoptFrame(s rows, h frame.Header) error {
	d, at, err := s.digest()
	if err == nil {
		proved := point{at, d, h.Start}
		if err = p.adopt(s, h.Start, Event{Kind: Bootstrapped, proved: &proved}); err == nil {
			p.proved(proved)
		}
	}
	return err
}

// proved notes that the state that came from the log, or was brought to a cut by what has changed, was the log's there.
func (p *partition) proved(at point) {
	p.equalAt(at.offset)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verifiedLocked(at)
}

// loadFrame begins with a frame that an answer named, and with no other at its cut.
func (p *partition) loadFrame(ctx context.Context, f plane.Frame) error {
	s, h, _, err := p.fetchFrame(ctx, f)
	if err != nil {
		return err
	}
	return p.adoptFrame(s, h)
}

// enterLoading lets at most BootstrapParallel partitions in at a time; leave must follow.
func (p *partition) enterLoading(ctx context.Context) (leave func(), err error) {
	select {
	case p.r.loading <- struct{}{}:
		return func() { <-p.r.loading }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fetchFrame loads a frame that an answer named into a state of its own, and no other at its cut: it is held to what was said of it from its header on.
func (p *partition) fetchFrame(ctx context.Context, f plane.Frame) (s rows, h frame.Header, size int64, err error) {
	leave, err := p.enterLoading(ctx)
	if err != nil {
		return nil, h, 0, err
	}
	defer leave()
	began := p.r.cfg.Now()
	name := plane.Whole(p.no, f.Cut)
	body, err := p.r.plane.Download(ctx, name, name.ETag(f.Pub), p.r.cfg.Retry)
	if err != nil {
		return nil, h, 0, err
	}
	defer body.Close()
	fr, err := f.Read(body, name)
	if err != nil {
		return nil, h, body.At, err
	}
	if s, err = p.r.stores.load(p.no, fr); err != nil {
		return nil, h, body.At, err
	}
	h = fr.Header()
	if d, _, err := s.digest(); err != nil || d != f.Digest {
		return nil, h, body.At, errors.Join(fmt.Errorf("%w: %d, start %d", plane.ErrFrameChanged, h.Cut, h.Start), err, s.discard())
	}
	p.log.Info("loaded a key frame", "cut", h.Cut, "bytes", body.At, "took", p.r.cfg.Now().Sub(began).Round(time.Millisecond))
	return s, h, body.At, nil
}

// beginEarliest starts without rows at the log start; where the log is trimmed, with the frame at the delta start offset, which is
// what the rows below it add up to. Without a state plane they have to be gathered, see gathering.
func (p *partition) beginEarliest(ctx context.Context) error {
	topic, err := p.r.tail.describe(ctx)
	if err != nil {
		return err
	}
	if s := p.rows(); s != nil && s.position() > topic.ends[p.no] {
		p.history.distrust(p.position()) // the log lost its end, and will have other records there
	}
	start := topic.starts[p.no]
	id := identity{TopicID: topic.id, Partition: p.no}
	info := plane.Partition{TopicID: topic.id}
	if old := p.atStake(); old != nil {
		info.Incarnation = old.identity().Incarnation // without a state plane nobody tells of another
	}
	if p.r.plane != nil {
		l, err := p.listed(ctx)
		if err != nil {
			return err
		}
		if l.DeltaStart > start {
			return p.beginListed(ctx, l, l.First)
		}
		// Where the log starts higher, the state is not what lies above its start alone: rows leave at a cut. Without a frame, whole values will do:
		// what lacks rows below the log start is the log's state from the next cut on.
		if start > l.DeltaStart && (l.Newest != nil || l.Failure != "" || !topic.fold.WholeValues()) {
			return p.beginListed(ctx, l, l.Newest)
		}
		id.TopicID, id.Incarnation, info = l.TopicID, l.Incarnation, l.Partition
	}
	if err := p.mayTakePlace(info, nil, false); err != nil {
		return err
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
	return p.adopt(s, start, Event{Kind: Bootstrapped})
}

// adopt makes s the partition's state, and lets it be followed.
func (p *partition) adopt(s rows, start int64, is Event) error {
	if err := p.show(s, start, is); err != nil {
		return err
	}
	p.follow()
	return nil
}

// show makes s the partition's state, at once for all readers; watchers see the difference to the former one; is says how it came, and is told. Nothing is
// applied meanwhile, so that the difference is found without the lock.
func (p *partition) show(s rows, start int64, is Event) error {
	d, at, err := s.digest()
	incarnation := s.identity().Incarnation
	if err == nil {
		err = s.remember(p.history.distrusted(incarnation))
	}
	var verified []verifiedCut // of a stored state
	if err == nil {
		verified, err = p.r.stores.verified(p.no)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	start = max(start, s.logStart())
	to := Position{incarnation, at, start}
	p.history.distrust(Position{Incarnation: incarnation, Offset: p.r.stores.distrusted(p.no)}) // of a stored state
	old := p.rows()
	way := p.lockWithWay(old, s, to)
	if way == nil {
		p.history.begin(to)
	} else {
		p.history.replace(way, p.position(), to)
	}
	p.ring.reset(s.perRecord())
	p.ring.add(at, d)
	p.verified = verified
	p.pending, p.compared, p.rehash = nil, at, false
	p.forgetRestartLocked()
	p.current.Store(&s)
	p.rotten.Store(nil) // it has the former state
	p.start.Store(start)
	p.mu.Unlock()
	is.Partition, is.Offset, is.Rows = p.no, at, d.Count
	p.r.event(is)
	if old == nil {
		p.awaitTold(0) // before anybody goes on who waits for the state
		close(p.ready)
	} else if err := old.discard(); err != nil {
		p.log.Warn("removing the former state", "err", err)
	}
	p.moved.notify()
	p.r.changed.notify()
	return nil
}

// lockWithWay takes mu, with what watchers are to be told of the way from the old state to s; nil: nobody is told, and who watches later begins
// with s.
func (p *partition) lockWithWay(old, s rows, to Position) *transition {
	p.mu.Lock()
	for {
		watched := p.watched
		if old == nil || !s.perRecord() && !watched {
			return nil
		}
		p.mu.Unlock()
		way, err := p.wayTo(old, s, to)
		if err != nil {
			p.log.Warn("watchers must begin anew: the former state cannot be read", "err", err)
		}
		p.mu.Lock()
		if err != nil || watched || s.perRecord() {
			return way
		}
	}
}

// wayTo finds the difference between two states; nil where one cannot be read.
func (p *partition) wayTo(old, s rows, to Position) (*transition, error) {
	way := newTransition(p.r.cfg.WatchChanges)
	for c, err := range difference(old, s, p.position(), to) {
		if err != nil {
			return nil, err
		}
		way.add(c)
	}
	return way, nil
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
			c := toChange(id, &gone, oldAt)
			c.start = nowAt.Start // it may have expired on the way
			if !yield(c, nil) {
				return
			}
		}
	})
}
