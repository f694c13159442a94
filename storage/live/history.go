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
// deltas of the range, and those from the key frame below it on, which must be left in the source: rejected ones leave no other trace. Memory:
// a batch, and the key's row. The sequence can be ranged over once.
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
	p        *Partition
	src      Source
	key      []byte
	kind     fold.Kind
	folder   *fold.Folder
	reader   *batch.Reader
	row      frame.Row
	exists   bool
	position int64
	moves    []table.StartMove // of the log start, above the position
	quiet    bool              // what happens lies below the range
	yield    func(Version, error) bool
}

func (h *history) run(ctx context.Context, from, to int64) error {
	if err := h.begin(from); err != nil {
		return err
	}
	h.quiet = true
	if err := h.readTo(ctx, from); err != nil {
		return err
	}
	h.quiet = false
	if !h.exists {
		h.row = frame.Row{Key: h.key}
	} else if err := h.say(Version{Offset: h.row.Offset, Timestamp: h.row.Timestamp}); err != nil {
		return err
	}
	return h.readTo(ctx, to)
}

// begin reads the row of the nearest frame.
func (h *history) begin(from int64) (err error) {
	now, err := h.p.table.View(table.Current)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, now.Close()) }()
	below, err := nearest(now, from)
	if err != nil {
		return err
	}
	if below == nil {
		h.moves = h.p.table.Starts()
		return nil
	}
	defer func() { err = damage.Join(err, below.Close()) }()
	h.position, h.moves = below.End(), below.Starts()
	h.row, h.exists, err = below.Get(h.key)
	h.row = clone(h.row)
	return err
}

// readTo goes on up to an offset: the deltas, and the moves of the log start between them.
func (h *history) readTo(ctx context.Context, end int64) error {
	for ; len(h.moves) > 0 && h.moves[0].Cut <= end; h.moves = h.moves[1:] {
		m := h.moves[0]
		if err := h.read(ctx, m.Cut); err != nil {
			return err
		}
		if !h.exists || h.row.Offset >= m.Start {
			continue
		}
		h.row, h.exists = frame.Row{Key: h.key}, false
		if err := h.say(Version{Expired: true, Offset: m.Cut}); err != nil {
			return err
		}
	}
	return h.read(ctx, end)
}

func (h *history) say(v Version) error {
	if h.quiet {
		return nil
	}
	v.Row, v.Exists = h.row, h.exists
	if !h.yield(v, nil) {
		return errStop
	}
	return nil
}

func (h *history) read(ctx context.Context, end int64) error {
	err := walk(ctx, h.src, h.position, end, func(b batch.Batch, first int64) error {
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
	h.position = max(h.position, end)
	return err
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
