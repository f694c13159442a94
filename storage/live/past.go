package live

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Source is the log that At reads deltas from.
type Source interface {
	// Batches returns the batches that hold [from, end), as many as fit into maxBytes and at least one; the first holds from.
	Batches(from, end int64, maxBytes int) ([]batch.Batch, error)
	// Aborted returns the aborted transactions that overlap [from, end), whose records are no part of the state.
	Aborted(from, end int64) ([]log.AbortedTxn, error)
}

// ErrSeek is returned by At where the deltas between the nearest key frame and the offset do not fit into Config.MaxSeekBytes.
var ErrSeek = errors.New("live: too far above the nearest key frame")

// seekRead is how much At reads from its source at a time.
const seekRead = 1 << 20

// Past is the state of a partition at one offset: the nearest key frame at or below it, and the deltas up to it, collapsed. It serves
// one goroutine, and pins sstables until it is closed.
type Past struct {
	collapser
	view     *table.View // nil: nothing is folded below the deltas
	offset   int64
	position int64
	end      int64             // what is read now ends here: at the next move, or at offset
	start    int64             // log start offset in force at position: rows below it are gone
	moves    []table.StartMove // of the log start, between the view and offset
	iv       *interval
	bytesMax int64
}

// At returns the state with every delta below x folded and none at or above. Below the oldest key frame it begins with an empty table
// at offset 0, if the source still reaches that far back; else the source's error is returned. A batch that x divides counts up to x.
func (p *Partition) At(ctx context.Context, x int64, src Source) (*Past, error) {
	now, err := p.table.View(table.Current)
	if err != nil {
		return nil, err
	}
	s, err := p.past(ctx, now, x, src)
	return s, errors.Join(err, now.Close())
}

// past is At for what the table has as of a view of all of it.
func (p *Partition) past(ctx context.Context, now *table.View, x int64, src Source) (*Past, error) {
	s := &Past{collapser: newCollapser(p.table), offset: x, iv: newInterval(), bytesMax: p.cfg.MaxSeekBytes}
	var err error
	if s.view, err = nearest(now, x); err != nil {
		return nil, err
	}
	if s.view != nil {
		s.position, s.start, s.moves = s.view.End(), s.view.Frame().Start, s.view.Starts()
	} else {
		s.moves = p.table.Starts()
	}
	if err := s.readAll(ctx, src, batch.NewReader(p.cfg.MaxDecompressed)); err != nil {
		return nil, errors.Join(fmt.Errorf("live: state at offset %d: %w", x, err), s.Close())
	}
	return s, nil
}

// nearest opens the newest table at or below x, nil if there is none.
func nearest(now *table.View, x int64) (*table.View, error) {
	if now.End() <= x {
		return now.At(table.Current)
	}
	for _, f := range slices.Backward(now.Frames()) {
		if f.Cut <= x {
			return now.At(f.Cut)
		}
	}
	return nil, nil
}

// readAll reads up to the offset, and lets rows go where the log start moved over them on the way.
func (s *Past) readAll(ctx context.Context, src Source, r *batch.Reader) error {
	for len(s.moves) > 0 && s.moves[0].Cut <= s.offset {
		s.end = s.moves[0].Cut
		if err := s.read(ctx, src, r); err != nil {
			return err
		}
		if err := s.expire(s.moves[0].Start); err != nil {
			return err
		}
		s.moves = s.moves[1:]
	}
	s.end = s.offset
	return s.read(ctx, src, r)
}

func (s *Past) read(ctx context.Context, src Source, r *batch.Reader) error {
	return walk(ctx, src, s.position, s.end, func(b batch.Batch, first int64) error {
		s.position = first
		return s.apply(b, r)
	}, func(position int64) error {
		s.position = position
		if s.iv.wasteful() {
			for i, h := range s.iv.compact() {
				s.iv.entries[i].head = h
			}
		}
		if s.iv.bytes > s.bytesMax {
			return fmt.Errorf("%w: %d bytes from %d to %d", ErrSeek, s.iv.bytes, s.base(), s.position)
		}
		return nil
	})
}

func (s *Past) base() int64 {
	if s.view == nil {
		return 0
	}
	return s.view.End()
}

func (s *Past) apply(b batch.Batch, r *batch.Reader) error {
	if err := r.Reset(b); err != nil {
		return err
	}
	for {
		rec, ok, err := r.Next()
		if err != nil || !ok || rec.Offset >= s.end {
			return err
		}
		if rec.Offset < s.position {
			continue
		}
		d, why := s.parse(&rec)
		if why != 0 {
			s.iv.rejects.Count(why)
			continue
		}
		e := s.iv.touch(d.Key, s.iv.hash(d.Key))
		if crowded(e.head) {
			below, exists, err := s.below(d.Key)
			if err != nil {
				return err
			}
			n, rejects, err := s.settle(&column{key: e.key, layers: [2]*node{nil, e.head}}, below, exists)
			if err != nil {
				return err
			}
			s.iv.rejects.Add(&rejects)
			s.iv.install(e, n)
		}
		s.collapse(s.iv, e, table.Delta{Delta: d, Offset: rec.Offset, Timestamp: rec.Timestamp})
	}
}

// below reads the row that the deltas are folded onto.
func (s *Past) below(key []byte) (frame.Row, bool, error) {
	row, exists, err := s.stored(key)
	if err != nil || !exists || row.Offset < s.start {
		return frame.Row{Offset: -1}, false, err
	}
	return row, true, nil
}

// stored reads the row that the frame has.
func (s *Past) stored(key []byte) (frame.Row, bool, error) {
	if s.view == nil {
		return frame.Row{Offset: -1}, false, nil
	}
	return s.view.Get(key)
}

// Start returns the log start offset in force at the offset: no row has its last delta below it.
func (s *Past) Start() int64 { return s.start }

// expire moves the log start. Of the keys that the deltas touched so far the state is settled first: what comes is folded onto that.
func (s *Past) expire(start int64) error {
	for _, e := range s.iv.entries {
		if e.head == nil {
			continue
		}
		offset := e.head.offset
		if e.head.kind != known {
			below, exists, err := s.below(e.key)
			if err != nil {
				return err
			}
			n, rejects, err := s.settle(&column{key: e.key, layers: [2]*node{nil, e.head}}, below, exists)
			if err != nil {
				return err
			}
			if offset = n.offset; n.kind == unchanged {
				offset = below.Offset
			}
			if e.head.kind == pending {
				s.iv.rejects.Add(&rejects)
				s.iv.install(e, n)
			}
		}
		if offset < start {
			s.iv.push(e, node{kind: known, op: delta.Delete, offset: offset})
		}
	}
	s.start = start
	return nil
}

// Close releases the sstables.
func (s *Past) Close() error {
	if s.view == nil {
		return nil
	}
	return s.view.Close()
}
