package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Version is one thing that happened to a key. It is valid until the next.
type Version struct {
	Row       frame.Row      // afterwards, where Exists
	Exists    bool           // the key has a row afterwards
	Op        string         // the delta's operation; empty where it was none: the row at the beginning, or one that expired
	Delta     []byte         // value of the delta's record; nil is null
	Rejected  fold.Rejection // why the fold skipped the delta; 0: it did not
	Expired   bool           // the log start has passed the row
	Offset    int64          // of the delta; of the row at the beginning; of the cut where it expired
	Timestamp int64          // of the delta, or of the row at the beginning
}

// History yields what happened to a key in [from, to), oldest first: the row that it has at from, if it has one; each delta, those that the fold
// rejected with the reason; and its expiry where the log start moved over it. Records of aborted transactions are no part of it. It reads all
// deltas of the range, which must be left in the source: rejected ones leave no other trace. Memory: a batch, and the key's row. The
// sequence can be ranged over once.
func (p *Partition) History(ctx context.Context, key []byte, from, to int64, src Source) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		h := &history{p: p, src: src, key: key, kind: p.table.Identity().Fold, yield: yield, reader: batch.NewReader(p.cfg.MaxDecompressed)}
		h.folder = fold.NewFolder(h.kind, p.table.RowBytesMax())
		if err := h.run(ctx, from, to); err != nil && !errors.Is(err, errStop) {
			yield(Version{}, fmt.Errorf("live: history from offset %d to %d: %w", from, to, err))
		}
	}
}

type history struct {
	p      *Partition
	src    Source
	key    []byte
	kind   fold.Kind
	folder *fold.Folder
	reader *batch.Reader
	row    frame.Row
	exists bool
	yield  func(Version, error) bool
}

func (h *history) run(ctx context.Context, from, to int64) error {
	moves, err := h.begin(ctx, from)
	if err != nil {
		return err
	}
	position := from
	for _, m := range moves {
		if m.Cut > to {
			break
		}
		if err := h.read(ctx, position, m.Cut); err != nil {
			return err
		}
		position = m.Cut
		if !h.exists || h.row.Offset >= m.Start {
			continue
		}
		h.row, h.exists = frame.Row{Key: h.key}, false
		if err := h.say(Version{Expired: true, Offset: m.Cut}); err != nil {
			return err
		}
	}
	return h.read(ctx, position, to)
}

// begin reads the row at from, and lists the moves of the log start above.
func (h *history) begin(ctx context.Context, from int64) (moves []table.StartMove, err error) {
	now, err := h.p.table.View(table.Current)
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, now.Close()) }()
	past, err := h.p.past(ctx, now, from, h.src)
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, past.Close()) }()
	for _, m := range h.p.table.Starts() {
		if m.Cut > from {
			moves = append(moves, m)
		}
	}
	if h.row, h.exists, err = past.Get(h.key); err != nil {
		return nil, err
	}
	if !h.exists {
		h.row = frame.Row{Key: h.key}
		return moves, nil
	}
	h.row = clone(h.row)
	return moves, h.say(Version{Offset: h.row.Offset, Timestamp: h.row.Timestamp})
}

func (h *history) say(v Version) error {
	v.Row, v.Exists = h.row, h.exists
	if !h.yield(v, nil) {
		return errStop
	}
	return nil
}

func (h *history) read(ctx context.Context, from, end int64) error {
	return walk(ctx, h.src, from, end, func(b batch.Batch, first int64) error {
		if err := h.reader.Reset(b); err != nil {
			return err
		}
		for {
			r, ok, err := h.reader.Next()
			if err != nil || !ok || r.Offset >= end {
				return err
			}
			if r.Offset < first || r.Key == nil || !bytes.Equal(r.Key, h.key) {
				continue
			}
			if err := h.delta(&r); err != nil {
				return err
			}
		}
	}, nil)
}

// delta folds one delta onto the row.
func (h *history) delta(r *batch.Record) error {
	v := Version{Delta: r.Value, Offset: r.Offset, Timestamp: r.Timestamp}
	d, err := h.kind.Delta(r.Key, r.Value, r.Headers)
	if err != nil {
		v.Op, v.Rejected = h.kind.OpName(r.Value, r.Headers), fold.Malformed
		return h.say(v)
	}
	v.Op = d.Op.String()
	next, why := h.folder.Apply(fold.State{Exists: h.exists, Value: h.row.Value}, d)
	if v.Rejected = why; why != 0 {
		return h.say(v)
	}
	h.exists = next.Exists
	n := &node{offset: r.Offset, timestamp: r.Timestamp, headers: d.Headers}
	h.row = clone(rowOf(h.kind, h.key, n, next))
	return h.say(v)
}

// walk visits the batches of committed records that hold [from, end), each with the first offset in it that was not visited yet; settled, if
// given, is called now and then with the position.
func walk(ctx context.Context, src Source, from, end int64, visit func(b batch.Batch, first int64) error, settled func(position int64) error) error {
	for position := from; position < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		batches, err := src.Batches(position, end, seekRead)
		if err != nil {
			return err
		}
		if len(batches) == 0 {
			return fmt.Errorf("no batch at offset %d", position)
		}
		aborted, err := src.Aborted(position, min(end, batches[len(batches)-1].NextOffset()))
		if err != nil {
			return err
		}
		for _, b := range batches {
			if b.NextOffset() <= position {
				continue
			}
			if b.BaseOffset() > position {
				return &GapError{position, b.BaseOffset()}
			}
			if !b.IsControl() && !log.IsAborted(aborted, b) {
				if err := visit(b, position); err != nil {
					return err
				}
			}
			position = min(b.NextOffset(), end)
		}
		if settled == nil {
			continue
		}
		if err := settled(position); err != nil {
			return err
		}
	}
	return nil
}
