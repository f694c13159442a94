package repair

import (
	"context"
	"fmt"
	"sync"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/storage/table"
)

// cellsAtOnce is how many cells are made before somebody who gave up is noticed.
const cellsAtOnce = 8192

// Frame is one use of a frame. Its methods may be called concurrently, until Release.
type Frame struct {
	desk    *Desk
	kept    *kept
	release sync.Once
}

// Release ends the use.
func (f *Frame) Release() {
	f.release.Do(func() {
		now := f.desk.cfg.Now()
		f.desk.mu.Lock()
		f.kept.uses--
		f.kept.last = now
		f.desk.mu.Unlock()
		deadline.Wake(f.desk.wake)
	})
}

// Frame describes the frame.
func (f *Frame) Frame() table.Frame { return f.kept.frame }

// Pub identifies it.
func (f *Frame) Pub() [32]byte { return f.kept.pub }

// Tags are those of all rows, in the order of their offsets. The slice is shared: do not change it.
func (f *Frame) Tags() []uint64 { return f.kept.tags }

// Cells are n cells of the frame's sketch from first on, fewer beyond sketch.CellsMax. Those that nobody asked for before are made, with
// all below. The slice is shared: do not change it. Errors: ErrBusy and ErrTooLarge where there is no memory for more, ctx's.
func (f *Frame) Cells(ctx context.Context, first, n int) ([]sketch.Cell, error) {
	k := f.kept
	end := min(first+n, sketch.CellsMax)
	if first < 0 || n < 0 || first > end {
		return nil, fmt.Errorf("repair: there are no %d cells from %d on", n, first)
	}
	select {
	case <-k.making:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { k.making <- struct{}{} }()
	if len(k.cells) < end {
		if err := f.extend(ctx, end); err != nil {
			return nil, err
		}
	}
	return k.cells[first:end:end], nil
}

// extend makes the cells below end. The caller has the token.
func (f *Frame) extend(ctx context.Context, end int) error {
	k := f.kept
	if err := f.desk.grow(k, end); err != nil {
		f.desk.metrics.refuse(err)
		return err
	}
	select {
	case f.desk.making <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.desk.making }()
	for len(k.cells) < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		k.cells = k.encoder.Next(k.cells, min(end-len(k.cells), cellsAtOnce))
	}
	return nil
}

// Rows visits the rows that have one of the tags, in offset order, and returns the tags that none has. A row is valid during the visit. Errors:
// ErrCorrupt where a row is damaged by now, table.ErrNoFrame where the frame is no longer there, ctx's, visit's.
func (f *Frame) Rows(ctx context.Context, tags []uint64, visit func(*frame.Row) error) (unknown []uint64, err error) {
	offsets, unknown := f.kept.find(tags)
	if len(offsets) == 0 {
		return unknown, nil
	}
	view, err := f.kept.src.Table.View(f.kept.frame.Cut)
	if err != nil {
		return nil, err
	}
	defer view.Close() // of iterators that were only read
	if f.kept.src.Table.Pub(view.Frame()) != f.kept.pub {
		return nil, fmt.Errorf("%w: the frame at %d was superseded", table.ErrNoFrame, f.kept.frame.Cut)
	}
	var h digest.Hasher
	for i, at := range offsets {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		row, ok, err := view.Row(at.offset)
		if err != nil && !isDamage(err) {
			return nil, err
		}
		if err != nil || !ok || tagOf(h.Entry(row.Key, row.Value)) != at.tag {
			err = fmt.Errorf("%w: the row at %d is not what it was when the frame was read: %w", ErrCorrupt, at.offset, orDigest(err))
			f.desk.spoilt(f.kept, err)
			return nil, err
		}
		if err := visit(&row); err != nil {
			return nil, err
		}
	}
	return unknown, nil
}

func orDigest(err error) error {
	if err == nil {
		return table.ErrDigest
	}
	return err
}

// spoilt is alarm for a frame that was good when it was read.
func (d *Desk) spoilt(k *kept, err error) {
	d.alarm(k, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frames[k.pub] == k {
		delete(d.frames, k.pub)
	}
}

// place is where the row with a tag is.
type place struct {
	tag    uint64
	offset int64
}

// find goes over all tags: two rows may share one.
func (k *kept) find(tags []uint64) (places []place, unknown []uint64) {
	found := make(map[uint64]bool, len(tags))
	for _, tag := range tags {
		found[tag] = false
	}
	for i, tag := range k.tags {
		if _, asked := found[tag]; asked {
			found[tag] = true
			places = append(places, place{tag, k.at[i]})
		}
	}
	for _, tag := range tags {
		if !found[tag] {
			found[tag] = true // once, if it was named twice
			unknown = append(unknown, tag)
		}
	}
	return places, unknown
}
