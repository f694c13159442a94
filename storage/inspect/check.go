package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Problem is something that is not as it should be.
type Problem struct {
	Partition Partition // zero where it is not one partition's
	Offset    int64     // where it was found; -1: the partition as a whole
	Err       error
}

func (p Problem) Error() string {
	if p.Partition.Topic == "" {
		return p.Err.Error()
	}
	if p.Offset < 0 {
		return fmt.Sprintf("%s: %v", p.Partition, p.Err)
	}
	return fmt.Sprintf("%s at offset %d: %v", p.Partition, p.Offset, p.Err)
}

func (p Problem) Unwrap() error { return p.Err }

// Report counts what was verified.
type Report struct {
	Files, Keys                  int64 // of both databases
	Partitions, Batches, Records int64
	Bytes                        int64 // of record batches
	Frames, Rows                 int64 // read back and hashed
	Refolded                     int64 // deltas folded again
	Digests                      int64 // compared after folding again
	Problems                     []Problem
	Notices                      []string // what may be damage or not: engine.Dir's
}

const (
	readBytes       = 8 << 20
	maxDecompressed = 1 << 30
)

// errLost, errGap and errDigest are what a check of its own kind finds; everything else is wrapped from storage.
var (
	errLost   = errors.New("acknowledged records may be lost")
	errGap    = errors.New("offsets are missing before this batch")
	errDigest = errors.New("the digest of the deltas folded again differs from the stored one")
)

// Check verifies everything; progress, if not nil, is called before each partition. The error is the context's; what is wrong with the
// data is in the report.
func (d *Dir) Check(ctx context.Context, progress func(Partition)) (*Report, error) {
	r := &Report{Notices: d.engine.Notices()}
	for _, x := range d.databases {
		s := scan{Report: r, ctx: ctx, database: x}
		s.run()
	}
	if d.tableErr != nil {
		r.Problems = append(r.Problems, Problem{Offset: -1, Err: d.tableErr})
	}
	if d.err != nil {
		r.Problems = append(r.Problems, Problem{Offset: -1, Err: d.err})
		return r, ctx.Err()
	}
	if d.tables != nil {
		d.checkOrdinals(r)
	}
	for _, p := range d.partitions {
		if progress != nil {
			progress(p)
		}
		c := checker{Report: r, p: p, records: batch.NewReader(maxDecompressed)}
		if p.Err != nil {
			c.problem(-1, p.Err)
		} else {
			c.run(ctx)
		}
		r.Partitions++
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// checkOrdinals looks for tables of partitions that the catalog does not know. Those of deleted topics are none: a start removes
// them. But ordinals are given out with a topic, in one write to the log, so a table of a later one has outlived its topic.
func (d *Dir) checkOrdinals(r *Report) {
	next, err := d.catalog.NextOrdinal()
	if err != nil {
		r.Problems = append(r.Problems, Problem{Offset: -1, Err: err})
		return
	}
	kept, err := d.catalog.KeptOrdinals()
	if err != nil {
		r.Problems = append(r.Problems, Problem{Offset: -1, Err: err})
		return
	}
	ordinals, err := d.tables.Ordinals()
	if err != nil {
		r.Problems = append(r.Problems, Problem{Offset: -1, Err: err})
		return
	}
	for _, o := range ordinals {
		if int64(o) >= next || slices.Contains(kept, o) {
			err := fmt.Errorf("there is a table of partition number %d, which the catalog has not given out: the end of the log is gone: %w", o, errLost)
			r.Problems = append(r.Problems, Problem{Offset: -1, Err: err})
		}
	}
}

// checker verifies one partition.
type checker struct {
	*Report
	p       Partition
	records *batch.Reader
	txns    *txns
}

func (c *checker) problem(offset int64, err error) {
	c.Problems = append(c.Problems, Problem{c.p, offset, err})
}

func (c *checker) run(ctx context.Context) {
	if c.p.Table != nil {
		position, epoch, end := c.p.Table.Position(), c.p.Table.LeaderEpoch(), c.p.Log.Bounds().LogEnd
		if position > end {
			c.problem(position, fmt.Errorf("the table is folded to here, but the log ends at %d: its end is gone: %w", end, errLost))
		} else if is := c.p.Log.EpochAt(position - 1); position > 0 && epoch >= 0 && is >= 0 && is != epoch {
			c.problem(position, fmt.Errorf("the table is folded to here in leader epoch %d, but there the log has epoch %d: what was there is gone: %w",
				epoch, is, errLost))
		}
	}
	if c.p.Table == nil {
		c.eachBatch(ctx, c.p.Log.Bounds().DeltaStart, func(b batch.Batch) bool { return c.decode(b) })
		return
	}
	if !c.readBack(ctx) { // a table that cannot be read is no ground to fold on
		c.eachBatch(ctx, c.p.Log.Bounds().DeltaStart, func(b batch.Batch) bool { return c.decode(b) })
		return
	}
	c.refold(ctx)
}

// eachBatch reads the raw log from an offset on; storage verifies the checksums.
func (c *checker) eachBatch(ctx context.Context, from int64, fn func(batch.Batch) bool) {
	end := c.p.Log.Bounds().LogEnd
	c.txns = newTxns(from)
	for at := from; at < end && ctx.Err() == nil; {
		batches, err := c.p.Log.Batches(at, end, readBytes)
		if err != nil {
			c.problem(at, err)
			return
		}
		for _, b := range batches {
			if b.BaseOffset() > at || b.NextOffset() <= at {
				c.problem(b.BaseOffset(), fmt.Errorf("%w: expected offset %d", errGap, at))
				return
			}
			at = b.NextOffset()
			c.Batches++
			c.Bytes += int64(len(b))
			if err := c.txns.pass(b); err != nil {
				c.problem(b.BaseOffset(), err)
				return
			}
			if !fn(b) {
				return
			}
		}
	}
	if ctx.Err() == nil {
		c.transactions()
	}
}

// decode reads all records of a batch.
func (c *checker) decode(b batch.Batch) bool {
	return c.eachRecord(b, func(batch.Record) {})
}

func (c *checker) eachRecord(b batch.Batch, fn func(batch.Record)) bool {
	if err := c.records.Reset(b); err != nil {
		c.problem(b.BaseOffset(), err)
		return false
	}
	for r, err := range c.records.All() {
		if err != nil {
			c.problem(b.BaseOffset(), err)
			return false
		}
		c.Records++
		fn(r)
	}
	return true
}

// readBack verifies the rows of every frame and of the current table.
func (c *checker) readBack(ctx context.Context) (ok bool) {
	ok = true
	for _, f := range c.p.Table.Frames() {
		c.Frames++
		got, err := c.p.Table.Verify(ctx, f.Cut)
		c.Rows += got.Count
		if err != nil {
			c.problem(f.Cut, err)
			ok = false
		}
	}
	got, err := c.p.Table.Verify(ctx, table.Current)
	c.Rows += got.Count
	if err != nil {
		c.problem(c.p.Table.Position(), err)
		ok = false
	}
	return ok
}

// refold folds the raw deltas again on a plain map, from the oldest frame at or above the delta start offset, and compares digests at
// every frame and at the table's position.
func (c *checker) refold(ctx context.Context) {
	bounds := c.p.Log.Bounds()
	from := bounds.DeltaStart
	f := refold{kind: c.p.Fold, folder: fold.NewFolder(c.p.Fold, c.p.Table.RowBytesMax()), rows: map[string]refoldRow{}}
	if from > 0 {
		err := f.load(c.p.Table, from)
		if errors.Is(err, table.ErrNoFrame) && bounds.LogStart == from {
			// While the topic was not key-framed, retention has passed all rows: the next start of a fold drops them.
			c.eachBatch(ctx, from, func(b batch.Batch) bool { return c.decode(b) })
			return
		}
		if err != nil {
			c.problem(from, err)
			return
		}
	}
	expected := map[int64]digest.Digest{c.p.Table.Position(): c.p.Table.Digest()}
	for _, frame := range c.p.Table.Frames() {
		if frame.Cut >= from {
			expected[frame.Cut] = frame.Digest
		}
	}
	moves := c.p.Table.Starts()
	compare := func(at int64) {
		for ; len(moves) > 0 && moves[0].Cut <= at; moves = moves[1:] {
			if moves[0].Cut > from { // else the frame is without those rows already
				f.expire(moves[0].Start)
			}
		}
		if want, ok := expected[at]; ok {
			c.Digests++
			delete(expected, at)
			if want != f.digest {
				c.problem(at, fmt.Errorf("%w: %d rows, stored %d", errDigest, f.digest.Count, want.Count))
			}
		}
	}
	compare(from)
	b := c.p.Log.Bounds()
	aborted, err := c.p.Log.Aborted(b.DeltaStart, b.LastStable)
	if err != nil {
		c.problem(from, err)
		return
	}
	c.eachBatch(ctx, from, func(b batch.Batch) bool {
		ok := b.IsControl() || log.IsAborted(aborted, b) || c.eachRecord(b, func(r batch.Record) {
			if r.Offset >= from { // a frame may lie inside the first batch that is kept
				c.Refolded++
				f.apply(r)
			}
		})
		compare(b.NextOffset())
		return ok
	})
	for _, at := range slices.Sorted(maps.Keys(expected)) {
		if ctx.Err() == nil && at <= c.p.Log.Bounds().LogEnd { // beyond it: reported already
			c.problem(at, errors.New("the log does not reach this cut, or it lies inside a batch"))
		}
	}
}

// refold is the plainest fold there is: a map from key to value.
type refold struct {
	kind   fold.Kind
	folder *fold.Folder
	hasher digest.Hasher
	rows   map[string]refoldRow
	digest digest.Digest
}

type refoldRow struct {
	value  []byte
	offset int64
}

// expire lets the rows go that the log start has passed.
func (f *refold) expire(start int64) {
	for key, row := range f.rows {
		if row.offset < start {
			f.digest.Sub(f.hasher.Entry([]byte(key), row.value))
			delete(f.rows, key)
		}
	}
}

func (f *refold) load(t *table.Table, cut int64) error {
	v, err := t.View(cut)
	if err != nil {
		return fmt.Errorf("the frame at the delta start offset: %w", err)
	}
	for row, err := range v.Offsets(0, false) {
		if err != nil {
			return errors.Join(err, v.Close())
		}
		f.rows[string(row.Key)] = refoldRow{slices.Clone(row.Value), row.Offset}
		f.digest.Add(f.hasher.Entry(row.Key, row.Value))
	}
	return v.Close()
}

func (f *refold) apply(r batch.Record) {
	d, err := f.kind.Delta(r.Key, r.Value, r.Headers)
	if err != nil {
		return // skipped by the fold as well, which is total
	}
	old, exists := f.rows[string(r.Key)]
	next, rejected := f.folder.Apply(fold.State{Exists: exists, Value: old.value}, d)
	if rejected != 0 {
		return
	}
	if exists {
		f.digest.Sub(f.hasher.Entry(r.Key, old.value))
		delete(f.rows, string(r.Key))
	}
	if next.Exists {
		f.rows[string(r.Key)] = refoldRow{append([]byte{}, next.Value...), r.Offset}
		f.digest.Add(f.hasher.Entry(r.Key, next.Value))
	}
}
