package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
)

// widenMax is how many times an ingest that meets damage is tried anew: compactions may have put other sstables there meanwhile.
const widenMax = 3

// ingest makes the sstables part of the database. To find the level where one goes, Pebble (2.1.7: internal/overlap) seeks its first key in each sstable
// that reaches beyond it on both sides, and fails where the block there cannot be read, of another table maybe. In one that begins within what is
// ingested it does not look: there it takes for granted that keys of both lie side by side. So what has met damage is ingested anew, with bounds that
// begin where the sstables around it do. A failed ingest has changed nothing.
func (s *sink) ingest(ctx context.Context, excise *pebble.KeyRange) (err error) {
	for n := 0; ; n++ {
		if excise == nil {
			err = s.db.cfg.DB.Ingest(ctx, s.paths)
		} else {
			_, err = s.db.cfg.DB.IngestAndExcise(ctx, s.paths, nil, nil, *excise)
		}
		if err == nil || !pebble.IsCorruptionError(err) || n == widenMax {
			return err
		}
		if wider, werr := s.widen(ctx, excise); werr != nil || !wider {
			return errors.Join(err, werr)
		}
	}
}

// piece is finished sstables, ascending, that are to be one: all that there is from start to end, both inclusive.
type piece struct {
	paths      []string
	start, end []byte
	wide       bool // start lies before the first key
}

// widen lets no sstable lie within one of the database; in the excised span, where Pebble looks at none, they stay. What lies between joins
// them, as those of one ingest must not overlap.
func (s *sink) widen(ctx context.Context, excise *pebble.KeyRange) (wider bool, err error) {
	levels, err := s.db.cfg.DB.SSTables()
	if err != nil {
		return false, err
	}
	var parts, pieces []piece
	for _, p := range s.paths {
		part := piece{paths: []string{p}}
		if part.start, part.end, err = s.extent(ctx, p); err != nil {
			return false, err
		}
		parts = append(parts, part)
	}
	slices.SortFunc(parts, func(a, b piece) int { return bytes.Compare(a.start, b.start) })
	for _, part := range parts {
		if excise == nil || bytes.Compare(part.start, excise.Start) < 0 || bytes.Compare(part.end, excise.End) >= 0 {
			part.widen(levels)
		}
		wider = wider || part.wide
		for n := len(pieces); part.wide && n > 0 && bytes.Compare(pieces[n-1].end, part.start) >= 0; n-- {
			before := pieces[n-1]
			part.paths = append(before.paths, part.paths...)
			if bytes.Compare(before.start, part.start) < 0 {
				part.start = before.start
			}
			pieces = pieces[:n-1]
		}
		pieces = append(pieces, part)
	}
	if !wider {
		return false, nil
	}
	return true, s.replace(ctx, pieces)
}

// widen moves the start to that of each sstable of the database that encloses the piece.
func (p *piece) widen(levels [][]pebble.SSTableInfo) {
	start := p.start
	for _, level := range levels {
		for i := range level {
			from := level[i].Smallest.UserKey
			if bytes.Compare(from, start) >= 0 || bytes.Compare(level[i].Largest.UserKey, p.end) < 0 {
				continue
			}
			if p.wide = true; bytes.Compare(from, p.start) < 0 {
				p.start = bytes.Clone(from)
			}
		}
	}
}

// replace writes the pieces that are wide, in place of what they are made of.
func (s *sink) replace(ctx context.Context, pieces []piece) error {
	var paths, former []string
	for _, p := range pieces {
		if !p.wide {
			paths = append(paths, p.paths...)
			continue
		}
		if err := s.rewrite(ctx, p); err != nil {
			return err
		}
		path := s.paths[len(s.paths)-1]
		if s.starts == nil {
			s.starts = map[string][]byte{}
		}
		s.starts[path] = p.start
		paths = append(paths, path)
		former = append(former, p.paths...)
	}
	s.paths = paths
	for _, p := range former {
		_ = s.db.cfg.FS.Remove(p) // see discard
	}
	return nil
}

// rewrite writes one sstable. Its start is a deletion of range keys, which no table has: it covers no entry of anybody, and compactions drop it.
func (s *sink) rewrite(ctx context.Context, p piece) error {
	w, err := s.create()
	if err != nil {
		return err
	}
	err = w.RangeKeyDelete(p.start, append(bytes.Clone(p.start), 0))
	for i := 0; i < len(p.paths) && err == nil; i++ {
		err = s.read(ctx, p.paths[i], func(r *sstable.Reader) error { return copyEntries(ctx, w, r) })
	}
	return errors.Join(err, w.Close())
}

// read opens an sstable in the making that is finished.
func (s *sink) read(ctx context.Context, path string, fn func(*sstable.Reader) error) error {
	f, err := s.db.cfg.FS.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, s.db.cfg.Options.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(fn(r), r.Close())
}

func copyEntries(ctx context.Context, w *sstable.Writer, r *sstable.Reader) error {
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	for kv := it.First(); kv != nil && err == nil; kv = it.Next() {
		var v []byte
		switch kind := kv.K.Kind(); kind {
		case pebble.InternalKeyKindSet:
			if v, _, err = kv.Value(nil); err == nil {
				err = w.Set(kv.K.UserKey, v)
			}
		case pebble.InternalKeyKindDelete:
			err = w.Delete(kv.K.UserKey)
		default:
			err = fmt.Errorf("an entry of kind %s, which no commit writes", kind)
		}
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return err
	}
	ranges, err := r.NewRawRangeDelIter(ctx, block.NoFragmentTransforms, sstable.NoReadEnv)
	if err != nil || ranges == nil {
		return err
	}
	defer ranges.Close()
	span, err := ranges.First()
	for ; span != nil && err == nil; span, err = ranges.Next() {
		if err = w.DeleteRange(span.Start, span.End); err != nil {
			return err
		}
	}
	return err
}

// extent is where an sstable begins, and its last key; of a range, the end.
func (s *sink) extent(ctx context.Context, path string) (start, end []byte, err error) {
	start = s.starts[path]
	take := func(from, to []byte) {
		if start == nil || bytes.Compare(from, start) < 0 {
			start = bytes.Clone(from)
		}
		if end == nil || bytes.Compare(to, end) > 0 {
			end = bytes.Clone(to)
		}
	}
	err = s.read(ctx, path, func(r *sstable.Reader) error {
		it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
		if err != nil {
			return err
		}
		if kv := it.First(); kv != nil {
			take(kv.K.UserKey, kv.K.UserKey)
		}
		if kv := it.Last(); kv != nil {
			take(kv.K.UserKey, kv.K.UserKey)
		}
		if err = errors.Join(it.Error(), it.Close()); err != nil {
			return err
		}
		ranges, err := r.NewRawRangeDelIter(ctx, block.NoFragmentTransforms, sstable.NoReadEnv)
		if err != nil || ranges == nil {
			return err
		}
		defer ranges.Close()
		span, err := ranges.First()
		for ; span != nil && err == nil; span, err = ranges.Next() {
			take(span.Start, span.End)
		}
		return err
	})
	return start, end, err
}
