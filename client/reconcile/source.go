package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Row is a row of a source: a key that exists. It is not kept.
type Row struct{ Key, Value []byte }

// Source yields the rows of a state, in any order, each key once. An error is the last thing it yields. It is ranged over more than once.
type Source = iter.Seq2[Row, error]

// reader ranges over a source and makes its rows those that the topic would have.
type reader struct {
	source Source
	kind   fold.Kind
	put    batch.Headers // of a record that puts a row, which count for its size; nil: none
	folder *fold.Folder
	hasher digest.Hasher
}

func newReader(source Source, kind fold.Kind) *reader {
	var put batch.Headers
	if kind.Names(delta.Put, []byte{}) {
		put = batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte(delta.Put.String())})
	}
	return &reader{source: source, kind: kind, put: put, folder: fold.NewFolder(kind, fold.RowBytesMax)}
}

// each visits the rows; their memory is the source's, or overwritten at the next row. It returns their digest.
func (r *reader) each(ctx context.Context, visit func(Row, digest.Entry)) (d digest.Digest, err error) {
	n := int64(0)
	for row, err := range r.source {
		if n++; n%256 == 0 && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return d, &sourceError{n, err}
		}
		if row.Value, err = r.value(row); err != nil {
			return d, &RowError{n, slices.Clone(row.Key), err}
		}
		e := r.hasher.Entry(row.Key, row.Value)
		d.Add(e)
		visit(row, e)
	}
	return d, nil
}

// sourceError is an error of the source itself.
type sourceError struct {
	row int64
	err error
}

func (e *sourceError) Error() string {
	return fmt.Sprintf("the source, after %d rows: %v", e.row-1, e.err)
}
func (e *sourceError) Unwrap() error { return e.err }

// value is what the topic's row has where a row of the source is put.
func (r *reader) value(row Row) ([]byte, error) {
	if row.Value == nil {
		row.Value = []byte{}
	}
	d, err := r.kind.Delta(row.Key, row.Value, r.put)
	if err != nil {
		return nil, err
	}
	next, why := r.folder.Apply(fold.State{}, d)
	if why != 0 {
		return nil, delta.Refuse("the fold rejects it: %s", why)
	}
	return next.Value, nil
}

// prints is what is kept of all rows of a source.
type prints struct {
	digest digest.Digest
	parts  []part // by the partition that a row belongs to
}

type part struct {
	digest digest.Digest
	tags   []uint64
}

// read is the first pass.
func (r *reader) read(ctx context.Context, partitions int, home func(key []byte) int32) (prints, error) {
	p := prints{parts: make([]part, partitions)}
	seed := maphash.MakeSeed()
	var keys []uint64
	d, err := r.each(ctx, func(row Row, e digest.Entry) {
		own := &p.parts[home(row.Key)]
		own.digest.Add(e)
		own.tags = append(own.tags, plane.TagOf(e))
		keys = append(keys, maphash.Bytes(seed, row.Key))
	})
	if err != nil {
		return prints{}, err
	}
	p.digest = d
	return p, r.checkTwice(ctx, seed, keys)
}

// checkTwice reads the source again if two keys have the same hash: only then may a key be there twice.
func (r *reader) checkTwice(ctx context.Context, seed maphash.Seed, keys []uint64) error {
	slices.Sort(keys)
	suspects := map[uint64]map[string]bool{}
	for i := 1; i < len(keys); i++ {
		if keys[i] == keys[i-1] {
			suspects[keys[i]] = map[string]bool{}
		}
	}
	if len(suspects) == 0 {
		return nil
	}
	var twice *DuplicateKeyError
	_, err := r.each(ctx, func(row Row, _ digest.Entry) {
		seen, suspect := suspects[maphash.Bytes(seed, row.Key)]
		if suspect && seen[string(row.Key)] && twice == nil {
			twice = &DuplicateKeyError{slices.Clone(row.Key)}
		}
		if suspect {
			seen[string(row.Key)] = true
		}
	})
	if twice != nil {
		return twice
	}
	return err
}

// sourceRow is a row of the source that may differ.
type sourceRow struct {
	key, value []byte
	entry      digest.Entry
}

// sourceRows are rows of the source, by key. There may be as many as it has: a map of them would take as much again.
type sourceRows []sourceRow

func (s sourceRows) find(key string) (row sourceRow, has bool) {
	i, has := slices.BinarySearchFunc(s, key, func(row sourceRow, key string) int { return cmp.Compare(string(row.key), key) })
	if has {
		row = s[i]
	}
	return row, has
}

// collect is the second pass: the rows with one of the tags, or one of the keys.
func (r *reader) collect(ctx context.Context, tags []uint64, wanted func(key []byte) bool, want digest.Digest) (sourceRows, error) {
	byTag := make(map[uint64]struct{}, len(tags))
	for _, t := range tags {
		byTag[t] = struct{}{}
	}
	rows := make(sourceRows, 0, len(tags))
	got, err := r.each(ctx, func(row Row, e digest.Entry) {
		if _, ok := byTag[plane.TagOf(e)]; ok || wanted(row.Key) {
			b := append(append(make([]byte, 0, len(row.Key)+len(row.Value)), row.Key...), row.Value...)
			rows = append(rows, sourceRow{b[:len(row.Key):len(row.Key)], b[len(row.Key):], e})
		}
	})
	if err == nil && got != want {
		err = ErrSourceChanged
	}
	slices.SortFunc(rows, func(a, b sourceRow) int { return bytes.Compare(a.key, b.key) })
	return rows, err
}
