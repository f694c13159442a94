package keyframer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

const (
	// rowBatchBytes is about how large the record batches are that rows are packed into.
	rowBatchBytes = 256 << 10
	// viewTries bounds how often the frame at the delta start offset is looked for again because a trim moved it.
	viewTries = 10
)

// Rows appends what a Kafka consumer gets for a fetch at from, below the delta start offset N1: rows in offset order as
// record batches, none of them empty, each ending just below the next; at least one, and otherwise at most maxBytes. next
// is where to go on: N1 at the end. Nothing is appended, and next is N1, where no row lies in [from, N1): the raw batches
// follow. ctx carries the connection's Session; the caller tells it what is sent (Session.Fetched).
// Errors: ErrAboveRows, ErrStaleFetch, as Table, and table's.
func (p *Partition) Rows(ctx context.Context, from int64, maxBytes int, dst []byte) (_ []byte, next int64, err error) {
	view, err := p.rowsView(from)
	if err != nil {
		return dst, from, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if err := p.checkStale(ctx, from, view.Horizon()); err != nil {
		return dst, from, err
	}
	packed, next, err := p.pack(view, from, maxBytes, dst)
	if err != nil {
		return dst, from, p.Damaged(fmt.Errorf("%s/%d: rows from offset %d: %w", p.topic.Name, p.Index, from, err))
	}
	return packed, next, nil
}

// EachRow calls visit for the rows with offsets in [from, N1), tombstones included, in offset order, until it returns false, and
// returns N1: all as one frame has it. It is for look-ups among what is still there. Nobody is given the rows, and so nobody can
// miss a delete: the tombstone horizon does not matter here. Errors: ctx's, ErrAboveRows, as Table, and table's.
func (p *Partition) EachRow(ctx context.Context, from int64, visit func(offset, timestamp int64) (more bool)) (n1 int64, err error) {
	view, err := p.rowsView(from)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	for row, err := range view.Offsets(from, true) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, p.Damaged(fmt.Errorf("%s/%d: rows from offset %d: %w", p.topic.Name, p.Index, from, err))
		}
		if !visit(row.Offset, row.Timestamp) {
			break
		}
	}
	return view.End(), nil
}

func (p *Partition) pack(view *table.View, from int64, maxBytes int, dst []byte) ([]byte, int64, error) {
	packer := newRowPacker(dst, maxBytes, view.End(), p.topic.Fold, p.log.EpochAt)
	for row, err := range view.Offsets(from, true) {
		if err != nil {
			return nil, 0, err
		}
		more, err := packer.add(&row)
		if err != nil {
			return nil, 0, err
		}
		if !more {
			break
		}
	}
	return packer.finish()
}

// rowsView opens the frame at the delta start offset.
func (p *Partition) rowsView(from int64) (*table.View, error) {
	t, err := p.Table()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		n1 := p.log.Bounds().DeltaStart
		if from >= n1 {
			return nil, fmt.Errorf("%w: %s/%d: %d, delta start offset %d", ErrAboveRows, p.topic.Name, p.Index, from, n1)
		}
		view, err := t.View(n1)
		if err == nil || !errors.Is(err, table.ErrNoFrame) || try == viewTries {
			return view, err
		}
	}
}

// rowPacker packs rows into record batches.
type rowPacker struct {
	dst      []byte
	start    int // of what was appended
	maxBytes int
	end      int64 // N1
	kind     fold.Kind
	epochAt  func(offset int64) int32

	builder *batch.Builder // of the open batch; empty: none is open
	epoch   int32          // of the open batch
	base    int64
	next    int64 // first row that found no place; -1: none
}

func newRowPacker(dst []byte, maxBytes int, end int64, kind fold.Kind, epochAt func(int64) int32) *rowPacker {
	return &rowPacker{
		dst: dst, start: len(dst), maxBytes: maxBytes, end: end, kind: kind, epochAt: epochAt,
		builder: batch.NewBuilder(batch.NewOptions()), next: -1,
	}
}

// add takes one row; false if the answer is full, and the row not in it.
func (r *rowPacker) add(row *frame.Row) (more bool, err error) {
	record := r.record(row)
	epoch := r.epochAt(row.Offset)
	size := len(row.Key) + len(row.Value) + len(record.Headers) + 32 // upper bound of what surrounds them
	if r.builder.Len() > 0 && r.splits(row.Offset, epoch, size) {
		if err := r.close(row.Offset); err != nil {
			return false, err
		}
	}
	if r.builder.Len() == 0 {
		if used := len(r.dst) - r.start; used > 0 && used+batch.HeaderSize+size > r.maxBytes {
			r.next = row.Offset
			return false, nil
		}
		opts := batch.NewOptions()
		opts.BaseOffset, opts.LeaderEpoch = row.Offset, epoch
		r.builder.Reset(opts)
		r.base, r.epoch = row.Offset, epoch
	}
	return true, r.builder.Append(record)
}

// splits says whether a row cannot go into the open batch.
func (r *rowPacker) splits(offset int64, epoch int32, size int) bool {
	filled := r.builder.Size() + size
	return epoch != r.epoch || !r.builder.Fits(offset) || filled > rowBatchBytes || len(r.dst)-r.start+filled > r.maxBytes
}

// close ends the open batch just below the next row, so that a consumer that is done with it goes on there.
func (r *rowPacker) close(next int64) error {
	if err := r.builder.SetLastOffset(min(next-1, r.base+math.MaxInt32)); err != nil {
		return err
	}
	dst, err := r.builder.AppendTo(r.dst)
	if err != nil {
		return err
	}
	r.dst = dst
	r.builder.Reset(batch.NewOptions())
	return nil
}

// finish closes the last batch: below the first row that found no place, or N1.
func (r *rowPacker) finish() (dst []byte, next int64, err error) {
	next = r.end
	if r.next >= 0 {
		next = r.next
	}
	if r.builder.Len() > 0 {
		err = r.close(next)
	}
	return r.dst, next, err
}

// record is a row as a consumer sees it. A folded value must never be folded again, so it says that it is one.
func (r *rowPacker) record(row *frame.Row) batch.Record {
	record := batch.Record{Offset: row.Offset, Timestamp: row.Timestamp, Key: row.Key, Value: row.Value, Headers: row.Headers}
	op := delta.Put
	if row.Tombstone {
		record.Value, op = nil, delta.Delete
	} else if record.Value == nil {
		record.Value = []byte{}
	}
	if has, ok := row.Headers.Get(delta.HeaderOp); r.kind != fold.LastValue && !(ok && string(has) == op.String()) {
		record.Headers = record.Headers.With(delta.HeaderOp, []byte(op.String()))
	}
	return record
}
