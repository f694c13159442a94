package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/proto/frame"
)

// errNoDelta says that what changed since a position cannot be had.
var errNoDelta = errors.New("the log cannot tell what changed since the position")

// catchUp loads what changed since the position of s, and applies it as one: nothing is visible before the stream has come to its end and
// the digest afterwards is the frame's. Readers have the former state until then; watchers see the changes.
func (p *partition) catchUp(ctx context.Context, a answer, s rows) error {
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
	if err := p.consolidate(s, fr); err != nil {
		return fmt.Errorf("what changed since %d: %w", a.since, err)
	}
	p.mu.Lock()
	p.verifiedLocked(point{a.frame.cut, a.frame.digest, a.frame.start})
	p.mu.Unlock()
	foot, _ := fr.Footer()
	changes := int64(foot.Rows)
	p.log.Info("loaded what changed", "since", a.since, "cut", a.frame.cut, "rows", changes, "bytes", body.at,
		"took", p.r.cfg.Now().Sub(began).Round(time.Millisecond))
	p.r.event(Event{Kind: CaughtUp, Partition: p.no, Offset: a.frame.cut, Rows: changes})
	return nil
}

// is tells whether a header is that of the frame.
func (f *frameInfo) is(h frame.Header) bool {
	return h.TopicID == f.topicID && h.Partition == f.partition && h.Incarnation == f.incarnation && h.Cut == f.cut && h.Start == f.start
}
