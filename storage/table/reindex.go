package table

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Reindex makes the index anew from the rows, which have to be readable, and to hash to the digest: else the error is ErrCorrupt or ErrDigest, and
// nothing has happened. What there was of the index leaves the database, unless what lies beside it cannot be read, which is ErrCorrupt too.
//
// Memory: about 128 MiB of index entries. Where there are more, the rows are read several times, and each time a range of keys is indexed, with one
// Ingest: if it ends early, so much is right.
func (t *Table) Reindex(ctx context.Context) (err error) {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	v, err := t.View(Current)
	if err != nil {
		return t.damaged(Current, err)
	}
	defer func() { err = t.damaged(v.f.Cut, damage.Join(err, v.Close())) }()
	for x := (reindexer{v: v}); ; {
		if err := x.collect(ctx); err != nil {
			return fmt.Errorf("table: index of ordinal %d: %w", t.ordinal, err)
		}
		if err := x.write(ctx); err != nil {
			return fmt.Errorf("table: index of ordinal %d: %w", t.ordinal, err)
		}
		if x.to == nil {
			return nil
		}
		x = reindexer{v: v, from: x.to, proved: true}
	}
}

// Reindexable returns the error with which Reindex would do nothing, and changes nothing.
func (t *Table) Reindexable(ctx context.Context) error {
	if _, err := t.Verify(ctx, Current); err != nil {
		return err
	}
	start, end := keys.TableSpan(keys.TableIndex, t.ordinal)
	return t.damaged(Current, t.db.readableBeside(pebble.KeyRange{Start: start, End: end}))
}

// reindexer indexes the keys in [from, to), in one pass over the rows.
type reindexer struct {
	v        *View
	from, to []byte // to is nil: there is no bound
	proved   bool   // the rows have the digest
	hasher   digest.Hasher
	digest   digest.Digest
	entries
}

// collect reads the rows, and keeps as many entries as there is room for: those of the lowest keys.
func (x *reindexer) collect(ctx context.Context) error {
	n := 0
	var stopped error
	_, err := x.v.offsets(0, true, func(r *frame.Row) bool {
		if n++; n%ctxRows == 0 {
			stopped = ctx.Err()
		}
		e := entry{offset: r.Offset, tombstone: r.Tombstone}
		if !r.Tombstone {
			e.valueLen, e.hash = uint32(len(r.Value)), x.hasher.Entry(r.Key, r.Value)
			x.digest.Add(e.hash)
		}
		if bytes.Compare(r.Key, x.from) >= 0 && (x.to == nil || bytes.Compare(r.Key, x.to) < 0) {
			x.add(r.Key, e)
			if len(x.found) > 1 && x.size() >= x.v.t.db.sizes.loadBytes {
				x.sort()
				x.to = x.halve()
			}
		}
		return stopped == nil
	})
	if err = errors.Join(err, stopped); err != nil {
		return err
	}
	if !x.proved && x.digest != x.v.f.Digest {
		return x.v.t.differs(&x.v.f, x.digest)
	}
	x.sort()
	return nil
}

// write puts the entries in the place of what there is: of fewer keys, where the bound lies beside what cannot be read.
func (x *reindexer) write(ctx context.Context) error {
	span := x.span()
	for err := x.v.t.db.readableBeside(span); err != nil; err = x.v.t.db.readableBeside(span) {
		if x.to == nil || len(x.found) < 2 || !pebble.IsCorruptionError(err) {
			return err
		}
		x.to = x.halve()
		span = x.span()
	}
	s := x.v.t.db.sink()
	if err := x.appendTo(s, x.v.t.ordinal); err != nil {
		return err
	}
	return s.commit(ctx, &span, x.v.t)
}

// span is where the index has the keys in [from, to).
func (x *reindexer) span() (r pebble.KeyRange) {
	o := x.v.t.ordinal
	r.Start, r.End = keys.TableSpan(keys.TableIndex, o)
	if x.from != nil {
		r.Start = keys.AppendTableIndex(nil, o, x.from)
	}
	if x.to != nil {
		r.End = keys.AppendTableIndex(nil, o, x.to)
	}
	return r
}

// entries are index entries with their keys.
type entries struct {
	keys  []byte
	found []loadEntry
}

func (x *entries) add(key []byte, e entry) {
	x.found = append(x.found, loadEntry{head: head(key), begin: uint32(len(x.keys)), len: uint32(len(key)), entry: e})
	x.keys = append(x.keys, key...)
}

func (x *entries) key(e *loadEntry) []byte { return x.keys[e.begin : e.begin+e.len] }

// size is about what they take in memory.
func (x *entries) size() int { return len(x.keys) + len(x.found)*64 }

func (x *entries) sort() {
	slices.SortFunc(x.found, func(a, b loadEntry) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return bytes.Compare(x.key(&a), x.key(&b))
	})
}

// halve keeps the lower half of sorted entries, of which there are two at least, and returns the lowest key of the other.
func (x *entries) halve() (above []byte) {
	half := len(x.found) / 2
	above = bytes.Clone(x.key(&x.found[half]))
	kept := entries{found: make([]loadEntry, 0, len(x.found)), keys: make([]byte, 0, len(x.keys))}
	for i := range x.found[:half] {
		kept.add(x.key(&x.found[i]), x.found[i].entry)
	}
	*x = kept
	return above
}

// appendTo writes sorted entries to a sink.
func (x *entries) appendTo(s *sink, ordinal uint32) error {
	k := keys.AppendTablePrefix(nil, keys.TableIndex, ordinal)
	var v []byte
	for i := range x.found {
		e := &x.found[i]
		if i > 0 && bytes.Equal(x.key(e), x.key(&x.found[i-1])) {
			return &CorruptError{Ordinal: ordinal, What: "row", Offset: e.entry.offset, Why: "its key twice"}
		}
		k = append(k[:keys.TablePrefixLen], x.key(e)...)
		v = appendEntry(v[:0], &e.entry)
		s.set(keys.TableIndex, k, v)
	}
	return nil
}

// readableBeside tries both sides of a range that is to be excised, in all files at once. Pebble (2.1.7: excise.go) takes a block there that it cannot
// read for one without keys, and what is stored on that side of it would be gone.
func (db *DB) readableBeside(span pebble.KeyRange) error {
	it, err := db.cfg.DB.NewIter(nil)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	it.SeekLT(span.Start)
	if err = it.Error(); err == nil {
		it.SeekGE(span.End)
		err = it.Error()
	}
	if err != nil {
		_ = it.Close() // says the same
		return fmt.Errorf("beside what is lost: %w", damage.Of(err))
	}
	return it.Close()
}
