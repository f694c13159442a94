package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// errNoDelta says that what changed since a position cannot be had.
var errNoDelta = errors.New("the log cannot tell what changed since the position")

// consolidator is a state that takes what changed since its position.
type consolidator interface {
	// consolidate reads a frame with Since == position to its end, while the state is free for readers, and calls within, which calls apply: nothing
	// is visible unless the digest afterwards is the footer's.
	consolidate(fr *frame.Reader, within func(apply func(memory.Changed) error) error) error
}

// catchUp loads what changed since the position of s, and applies it as one: nothing is visible before the stream has come to its end and
// the digest afterwards is the frame's. Readers have the former state until then; watchers see the changes.
func (p *partition) catchUp(ctx context.Context, a answer, s rows) error {
	c, ok := s.(consolidator)
	if !ok {
		return errNoDelta
	}
	leave, err := p.enterLoading(ctx)
	if err != nil {
		return err
	}
	defer leave()
	began := p.r.cfg.Now()
	name := frameName{p.no, a.frame.cut, a.since}
	body, err := p.r.plane.download(ctx, name, name.etag(a.frame.pub), p.r.cfg.Retry)
	if errors.Is(err, ErrRefused) { // the offset is, not the replica
		return fmt.Errorf("%w: %v", errNoDelta, err)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	fr, err := frame.NewReader(body, 0)
	if err != nil {
		return fmt.Errorf("header of what changed since %d: %w", a.since, err)
	}
	if h := fr.Header(); !a.frame.is(h) || h.Since != a.since {
		return fmt.Errorf("%w: asked for %d since %d, got %d since %d, start %d", errFrameChanged, a.frame.cut, a.since, h.Cut, h.Since, h.Start)
	}
	changes := int64(0)
	err = c.consolidate(fr, func(apply func(memory.Changed) error) error {
		n, err := p.consolidateLocked(*a.frame, s, apply)
		changes = n
		return err
	})
	if err != nil {
		return fmt.Errorf("what changed since %d: %w", a.since, err)
	}
	p.moved.notify()
	p.r.changed.notify()
	p.log.Info("loaded what changed", "since", a.since, "cut", a.frame.cut, "rows", changes, "bytes", body.at,
		"took", p.r.cfg.Now().Sub(began).Round(time.Millisecond))
	p.r.event(Event{Kind: CaughtUp, Partition: p.no, Offset: a.frame.cut, Rows: changes})
	return nil
}

// consolidateLocked takes mu: rows, position and what watchers are told change together.
func (p *partition) consolidateLocked(f frameInfo, s rows, apply func(memory.Changed) error) (n int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, from := s.identity(), p.position()
	at := Position{id.Incarnation, f.cut, max(f.start, from.Start)}
	var told memory.Changed
	t := newTransition(p.r.cfg.WatchChanges)
	if s.perRecord() || p.watched {
		told = func(row frame.Row, expired bool) {
			if n++; expired {
				row.Value, row.Headers, row.Tombstone, row.Offset = nil, nil, true, f.cut-1
			}
			c := toChange(id, &row, from)
			if c.Expired = expired; expired {
				c.start = at.Start
			}
			t.add(c)
		}
	}
	if err := apply(told); err != nil {
		return n, err
	}
	if told == nil {
		p.history.begin(at)
	} else {
		t.end(at)
		p.history.replace(t, from, at)
	}
	p.start.Store(at.Start)
	p.ring.reset(s.perRecord())
	p.ring.add(f.cut, f.digest)
	p.pending, p.compared = nil, f.cut
	p.verifiedLocked(point{f.cut, f.digest, f.start})
	return n, nil
}

// is tells whether a header is that of the frame.
func (f *frameInfo) is(h frame.Header) bool {
	return h.TopicID == f.topicID && h.Partition == f.partition && h.Incarnation == f.incarnation && h.Cut == f.cut && h.Start == f.start
}
