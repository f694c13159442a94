package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

// rowsBytesMax bounds the rows of the log that are fetched by tag.
const rowsBytesMax = 256 << 20

// group is a part of the comparison: frames, and the tags of the source's rows that may be in them.
type group struct {
	frames []*plane.Repair
	own    []uint64
}

// rows is how many rows the log has in the group.
func (g group) rows() (n int64) {
	for _, r := range g.frames {
		n += r.Of.Digest.Count
	}
	return n
}

// logRow is a row of the log that may differ from the source.
type logRow struct {
	partition int32
	entry     digest.Entry
}

// found is what one way of looking has found: every row of the source that the log lacks is among tags, and every row of the log that the source lacks
// among logs. There may be more in both.
type found struct {
	tags []uint64
	logs map[string][]logRow
	// places tells where the log has rows with the tags.
	places func(ctx context.Context, tags []uint64) (map[uint64][]logRow, error)
}

// unequal divides off the partitions that have exactly the source's rows that belong to them. It returns the others as groups of one.
func (c *comparison) unequal() (groups []group, equal map[int32]bool) {
	equal = map[int32]bool{}
	for p, own := range c.prints.parts {
		var logs digest.Digest
		r := c.frames[p]
		if r != nil {
			logs = r.Of.Digest
		}
		if own.digest == logs {
			equal[int32(p)] = true
			continue
		}
		g := group{own: own.tags}
		if logs.Count > 0 {
			g.frames = []*plane.Repair{r}
		}
		groups = append(groups, g)
	}
	return groups, equal
}

// find looks in one way after the other for what differs, until it is proved.
func (c *comparison) find(ctx context.Context) (writes []Write, by Method, err error) {
	parts, equal := c.unequal()
	whole := group{}
	for _, g := range parts {
		whole.frames = append(whole.frames, g.frames...)
		whole.own = append(whole.own, g.own...)
	}
	type way struct {
		by   Method
		look func(context.Context) (found, error)
	}
	ways := []way{
		{BySketch, func(ctx context.Context) (found, error) { return c.bySketch(ctx, whole) }},
		{ByTags, func(ctx context.Context) (found, error) { return c.byTags(ctx, whole) }},
		{ByFrame, func(ctx context.Context) (found, error) { return c.byFrame(ctx, whole) }},
	}
	switch {
	case len(whole.frames) == 0:
		ways = []way{{ByDigest, func(context.Context) (found, error) { return found{tags: whole.own}, nil }}}
	case len(parts) > 1:
		ways = append([]way{{BySketch, func(ctx context.Context) (found, error) { return c.bySketch(ctx, parts...) }}}, ways...)
	}
	var failed error
	for _, w := range ways {
		f, err := w.look(ctx)
		if err == nil {
			writes, err = c.settle(ctx, f, equal)
		}
		if err == nil {
			return writes, w.by, nil
		}
		if ctx.Err() != nil || final(err) {
			return nil, "", err // whichever way it was met on
		}
		failed = errors.Join(failed, fmt.Errorf("by %s: %w", w.by, err))
		c.cfg.Logger.Debug("reconcile: another way is tried", "method", string(w.by), "err", err)
	}
	return nil, "", failed
}

// final tells that no other way of looking does any better.
func final(err error) bool {
	for _, is := range []error{
		plane.ErrUnrepairable, plane.ErrBusy, plane.ErrNoFrame, plane.ErrFrameChanged, plane.ErrOtherIncarnation, ErrSourceChanged,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	var row *RowError
	var source *sourceError
	return errors.As(err, &row) || errors.As(err, &source)
}

func (c *comparison) search(frames []*plane.Repair) plane.Search {
	return plane.Search{Patience: c.patience, Frames: frames}
}

// bySketch decodes what differs in each group from cells.
func (c *comparison) bySketch(ctx context.Context, groups ...group) (found, error) {
	var f found
	var frames []*plane.Repair
	for _, g := range groups {
		frames = append(frames, g.frames...)
		if len(g.frames) == 0 {
			f.tags = append(f.tags, g.own...)
			continue
		}
		theirs, ours, err := c.search(g.frames).BySketch(ctx, g.own)
		if err == nil {
			err = c.resolve(ctx, &f, g, theirs)
		}
		if err != nil {
			return found{}, err
		}
		f.tags = append(f.tags, ours...)
	}
	f.places = c.placesIn(frames)
	return f, nil
}

// byTags compares the tags of all rows.
func (c *comparison) byTags(ctx context.Context, g group) (found, error) {
	theirs, ours, err := c.search(g.frames).ByTags(ctx, g.own)
	f := found{tags: ours, places: c.placesIn(g.frames)}
	if err == nil {
		err = c.resolve(ctx, &f, g, theirs)
	}
	return f, err
}

// resolve fetches the log's rows that the source lacks.
func (c *comparison) resolve(ctx context.Context, f *found, g group, tags []uint64) error {
	if n, all := int64(len(tags)), g.rows(); n > max(1024, all/2) {
		return fmt.Errorf("%w: %d rows of %d", plane.ErrTooMuch, n, all)
	}
	slices.Sort(tags)
	rows, err := c.search(g.frames).Resolve(ctx, slices.Compact(tags), rowsBytesMax)
	if err != nil {
		return err
	}
	for _, row := range rows {
		f.add(string(row.Key), logRow{row.Partition, row.Entry})
	}
	return nil
}

func (f *found) add(key string, row logRow) {
	if f.logs == nil {
		f.logs = map[string][]logRow{}
	}
	if !slices.Contains(f.logs[key], row) {
		f.logs[key] = append(f.logs[key], row)
	}
}

// placesIn asks frames for rows with tags.
func (c *comparison) placesIn(frames []*plane.Repair) func(context.Context, []uint64) (map[uint64][]logRow, error) {
	return func(ctx context.Context, tags []uint64) (map[uint64][]logRow, error) {
		places := map[uint64][]logRow{}
		rows, err := c.search(frames).Resolve(ctx, tags, rowsBytesMax)
		for _, row := range rows {
			t := plane.TagOf(row.Entry)
			places[t] = append(places[t], logRow{row.Partition, row.Entry})
		}
		return places, err
	}
}
