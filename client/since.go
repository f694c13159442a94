package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
)

// errNoDelta says that what changed since a position cannot be had.
var errNoDelta = errors.New("the log cannot tell what changed since the position")

// unappliedSince deals with stored rows to which what changed since could not be applied, as the policy says, and as with those to which what follows in the
// log cannot be. ErrCorrupt: following ends.
func (p *partition) unappliedSince(ctx context.Context, have *standing, err error) error {
	was := p.rot()
	why := p.unapplied(err)
	if was == nil { // else it has been told
		p.r.event(Event{Kind: why.event, Partition: p.no, Offset: have.rows.position(), Err: why.err})
	}
	p.distrust(why)
	if why.repair != nil && (p.reindexed() || was == nil) { // known now, rows that leave need not be read
		return errAskAgain
	}
	p.nameDifferences(ctx, have.rows)
	if why.halt {
		if p.r.cfg.OnDrift == Report && was == nil {
			return errAskAgain // known now, rows that leave need not be read
		}
		return why.err
	}
	*have = standing{} // the whole frame helps
	return errAskAgain
}

// repairRot has rows put right that are known to be rotten, where that is the policy. They have been told of.
func (p *partition) repairRot() {
	if err := p.rot(); err != nil && p.r.cfg.OnDrift == Repair {
		p.restartWith(restart{err: err, repair: &repairOrder{rehash: true}})
	}
}

// catchUp loads what changed since the position of s, and applies it as one: nothing is visible before the stream has come to its end and
// the digest afterwards is the frame's; unproved: or another one. Readers have the former state until then; watchers see the changes.
func (p *partition) catchUp(ctx context.Context, a plane.Answer, s rows, unproved bool) error {
	leave, err := p.enterLoading(ctx)
	if err != nil {
		return err
	}
	defer leave()
	began := p.r.cfg.Now()
	name := plane.Since(p.no, a.Frame.Cut, a.Since)
	body, err := p.r.plane.Download(ctx, name, name.ETag(a.Frame.Pub), p.r.cfg.Retry)
	if errors.Is(err, ErrRefused) { // the offset is, not the replica
		return fmt.Errorf("%w: %v", errNoDelta, err)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	fr, err := a.Frame.Read(body, name)
	if err != nil {
		return err
	}
	if err := p.consolidate(s, fr, unproved); err != nil {
		return fmt.Errorf("what changed since %d: %w", a.Since, err)
	}
	foot, _ := fr.Footer()
	changes := int64(foot.Rows)
	if unproved {
		p.log.Warn("loaded what changed, onto a state that may differ from the log", "since", a.Since, "cut", a.Frame.Cut, "rows", changes, "bytes", body.At)
		p.r.event(Event{Kind: Resumed, Partition: p.no, Offset: a.Frame.Cut})
		return nil
	}
	proved := &point{a.Frame.Cut, a.Frame.Digest, a.Frame.Start}
	if p.rot() == nil {
		p.proved(*proved)
	} else {
		proved = nil // the digest, which is kept beside the rows, has proved nothing of those that are rotten
	}
	p.log.Info("loaded what changed", "since", a.Since, "cut", a.Frame.Cut, "rows", changes, "bytes", body.At,
		"took", p.r.cfg.Now().Sub(began).Round(time.Millisecond))
	p.r.event(Event{Kind: CaughtUp, Partition: p.no, Offset: a.Frame.Cut, Rows: changes, proved: proved})
	return nil
}
