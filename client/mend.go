package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/table"
)

// errMoreDiffer says that a state would not have the frame's digest if the keys that were found were put right.
var errMoreDiffer = errors.New("other keys differ than those that were found")

// mend tries one method after the other to find the difference and to apply it.
func (c *comparison) mend(ctx context.Context, apply func(*comparison, findings) error) (d findings, by Method, err error) {
	if c.stored == c.plane.Of.Digest {
		return c.mendEqual(ctx, apply)
	}
	methods := []struct {
		name Method
		find func(_ context.Context, own []uint64) (theirs, ours []uint64, err error)
	}{{BySketch, c.search().BySketch}, {ByTags, c.search().ByTags}}
	var failed error
	for _, m := range methods {
		theirs, ours, err := m.find(ctx, c.tags)
		if err == nil {
			d, err = c.resolve(ctx, theirs, ours)
		}
		if err == nil && !c.proves(d.keys) {
			err = fmt.Errorf("%w: %d", errMoreDiffer, len(d.keys))
		}
		if err == nil {
			c.names.nameAll(d.keys)
			err = ctx.Err() // else they are told
		}
		if err == nil {
			err = c.applyWithRoom(ctx, &d, apply)
		}
		if err == nil {
			return d, m.name, nil
		}
		failed = errors.Join(failed, fmt.Errorf("by %s: %w", m.name, err))
		if ctx.Err() != nil || otherwise(err) {
			break
		}
		c.log.Warn("the difference could not be repaired, another way is tried", "cut", c.plane.Of.Cut, "method", m.name, "err", err)
	}
	return findings{}, "", failed
}

// mendEqual is for rows that are the log's: what cannot be read of them is fetched, by what the index has of it.
func (c *comparison) mendEqual(ctx context.Context, apply func(*comparison, findings) error) (d findings, by Method, err error) {
	if len(c.lost) == 0 {
		return d, ByRehash, apply(c, d)
	}
	if d, err = c.resolve(ctx, nil, nil); err == nil {
		c.names.nameAll(d.keys)
		err = ctx.Err()
	}
	if err == nil {
		err = apply(c, d)
	}
	return d, ByIndex, err
}

// roomTries bounds how many rows that are right are moved to make room for others.
const roomTries = 64

// applyWithRoom applies a difference. A table on disk has one row at an offset. Where a row that is right stands at that of another, because the delta
// that made it came under a wrong offset, it is fetched too, with its own.
func (c *comparison) applyWithRoom(ctx context.Context, d *findings, apply func(*comparison, findings) error) error {
	for try := 0; ; try++ {
		err := apply(c, *d)
		var taken *table.OffsetError
		if try == roomTries || !errors.As(err, &taken) {
			return err
		}
		row, ok, gerr := c.s.get(taken.Key)
		if gerr != nil || !ok {
			return errors.Join(err, gerr)
		}
		var h digest.Hasher
		logs, ferr := c.fetch(ctx, []uint64{plane.TagOf(h.Entry(row.Key, row.Value))})
		if ferr != nil {
			return errors.Join(err, ferr)
		}
		for _, l := range logs {
			d.puts = append(d.puts, l.Row)
		}
	}
}

// otherwise tells that no other method of asking about the same frame will do any better.
func otherwise(err error) bool {
	for _, is := range []error{ErrUnrepairable, plane.ErrBusy, plane.ErrNoFrame, plane.ErrOtherIncarnation, ErrClosed} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
