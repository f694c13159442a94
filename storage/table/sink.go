package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/keys"
)

// sink collects the writes of one commit, one sorted stream per key space, and makes them visible and durable with one Ingest. Small
// streams share an sstable: closing and ingesting one costs two to three milliseconds, whatever is in it. Many rows of one table have sstables
// of their own: nothing else lies within their bounds, so that Pebble puts them where they stay, at its lowest level. In one sstable with rows of
// another table they would lie above what is between them, to be merged with it, twice.
//
// Writer options are those of level 0: sstables made for level 6 mark their tombstones as obsolete, and once ingested above other
// data such tombstones are silently ignored.
type sink struct {
	db      *DB
	streams [keys.TableSpaceCount]stream
	paths   []string
	starts  map[string][]byte // of sstables that begin before their first key (see ingest)
	failed  error
}

// stream is one key space: its entries ascend.
type stream struct {
	pending []byte // entries that wait for an sstable: op, key length, key, value length, value
	w       *sstable.Writer
	bytes   int // in w
	own     bool
	ordinal [4]byte // of the last key
	last    []byte  // key of the last entry since from
	// [from, to) is what the last range deletion is yet to delete: its part of that is written when an sstable ends, as those of one Ingest must not
	// overlap. to is nil: nothing.
	from, to []byte
}

type op byte

const (
	opSet op = iota
	opDelete
	opDeleteRange // key and value are start and end
)

func (db *DB) sink() *sink { return &sink{db: db} }

func spaceIndex(s keys.TableSpace) int {
	if s <= keys.TablePast {
		return int(s>>4) - 1 + int(s&0xf)
	}
	return int(s-keys.TableSegments) + 3
}

func (s *sink) set(space keys.TableSpace, k, v []byte) { s.add(space, opSet, k, v) }

func (s *sink) delete(space keys.TableSpace, k []byte) { s.add(space, opDelete, k, nil) }

// deleteRange deletes [start, end) as it was before this commit; what the commit itself sets stays.
func (s *sink) deleteRange(space keys.TableSpace, start, end []byte) {
	s.add(space, opDeleteRange, start, end)
}

// remove removes what was stored in a range before this commit: by an excise, which the commit is to be told of, and which leaves nothing to compact. Where
// what lies beside cannot be read, of another table maybe, that would go as well; there the range is deleted, which takes it out of readers' way
// at once, and leaves it to compactions to give back the space.
func (s *sink) remove(space keys.TableSpace, r pebble.KeyRange) (excise *pebble.KeyRange) {
	if s.db.readableBeside(r) != nil {
		s.deleteRange(space, r.Start, r.End)
		return nil
	}
	return &r
}

// add keeps the first failure; commit reports it.
func (s *sink) add(space keys.TableSpace, o op, k, v []byte) {
	st := &s.streams[spaceIndex(space)]
	if s.failed != nil {
		return
	}
	ordinal := [4]byte(k[1:keys.TablePrefixLen])
	if st.w != nil && space == keys.TableRows && st.bytes >= s.db.sizes.apartBytes && ordinal != st.ordinal {
		if s.failed = errors.Join(st.endRange(st.w), s.endTable(st)); s.failed != nil {
			return
		}
	}
	st.ordinal = ordinal
	if st.w == nil {
		b := binary.AppendUvarint(append(st.pending, byte(o)), uint64(len(k)))
		b = binary.AppendUvarint(append(b, k...), uint64(len(v)))
		st.pending = append(b, v...)
		if len(st.pending) >= s.db.sizes.streamBytes {
			s.failed = s.spill(st)
		}
		return
	}
	st.bytes += len(k) + len(v)
	s.failed = st.write(st.w, o, k, v)
	if s.failed == nil && st.bytes >= s.db.sizes.tableBytes && o != opDeleteRange {
		s.failed = s.endTable(st)
	}
}

// endTable ends the sstable of a stream, which goes on in another.
func (s *sink) endTable(st *stream) error {
	err := st.cutRange(st.w)
	err = errors.Join(err, st.w.Close())
	st.w, st.bytes = nil, 0
	return err
}

func (st *stream) write(w *sstable.Writer, o op, k, v []byte) error {
	if o == opDeleteRange {
		err := st.endRange(w)
		st.from, st.to, st.last = bytes.Clone(k), bytes.Clone(v), nil
		return err
	}
	if st.to != nil {
		st.last = append(st.last[:0], k...)
	}
	if o == opDelete {
		return w.Delete(k)
	}
	return w.Set(k, v)
}

// endRange deletes what is left of a range.
func (st *stream) endRange(w *sstable.Writer) (err error) {
	if st.to != nil {
		err = w.DeleteRange(st.from, st.to)
		st.to = nil
	}
	return err
}

// cutRange deletes what of it is not behind the last entry.
func (st *stream) cutRange(w *sstable.Writer) error {
	next := append(bytes.Clone(st.last), 0)
	if st.to == nil || bytes.Compare(next, st.to) >= 0 {
		return st.endRange(w)
	}
	from := st.from
	st.from = next
	return w.DeleteRange(from, next)
}

// spill gives a stream an sstable of its own.
func (s *sink) spill(st *stream) (err error) {
	if st.w, err = s.create(); err != nil {
		return err
	}
	st.own, st.bytes = true, len(st.pending)
	return s.drain(st, st.w)
}

func (s *sink) drain(st *stream, w *sstable.Writer) error {
	r := reader{b: st.pending}
	for len(r.b) > 0 {
		o := op(r.bytes(1)[0])
		k := r.bytes(r.uvarint())
		if err := st.write(w, o, k, r.bytes(r.uvarint())); err != nil {
			return err
		}
	}
	st.pending = st.pending[:0]
	return nil
}

// create starts an sstable; it becomes part of the commit.
func (s *sink) create() (*sstable.Writer, error) {
	p := path.Join(s.db.cfg.Dir, fmt.Sprintf("%012d.sst", s.db.sequence.Add(1)))
	f, err := s.db.cfg.FS.Create(p, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("table: create sstable: %w", err)
	}
	s.paths = append(s.paths, p)
	o := s.db.cfg.Options.MakeWriterOptions(0, s.db.cfg.DB.TableFormat())
	return sstable.NewWriter(objstorageprovider.NewFileWritable(f), o), nil
}

// finish writes what is pending and closes every sstable. Neighbouring small streams share one; a stream with an sstable of its own
// between them ends the shared one, because sstables of one Ingest must not overlap.
func (s *sink) finish() error {
	var shared *sstable.Writer
	endShared := func() {
		if shared != nil && s.failed == nil {
			s.failed = shared.Close()
			shared = nil
		}
	}
	for i := range s.streams {
		st := &s.streams[i]
		if s.failed != nil {
			return s.failed
		}
		if st.own {
			endShared()
			if s.failed == nil && (len(st.pending) > 0 || st.w == nil && st.to != nil) { // after a split
				if st.w, s.failed = s.create(); s.failed == nil {
					s.failed = s.drain(st, st.w)
				}
			}
			if st.w != nil && s.failed == nil {
				s.failed = errors.Join(st.endRange(st.w), st.w.Close())
				st.w = nil
			}
			continue
		}
		if len(st.pending) == 0 {
			continue
		}
		if shared == nil {
			if shared, s.failed = s.create(); s.failed != nil {
				return s.failed
			}
		}
		if s.failed = s.drain(st, shared); s.failed == nil {
			s.failed = st.endRange(shared)
		}
	}
	endShared()
	return s.failed
}

// commit ingests all that was added. excise, if not nil, removes what was stored in that span before. tables are those that readers may
// have: who begins to read them meanwhile sees what was before (see DB.hold).
func (s *sink) commit(ctx context.Context, excise *pebble.KeyRange, tables ...*Table) error {
	defer s.discard()
	if err := s.finish(); err != nil {
		return fmt.Errorf("table: write sstable: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	release, err := s.db.hold(tables...)
	if err != nil {
		return err
	}
	switch {
	case excise != nil && len(s.paths) == 0:
		err = s.db.cfg.DB.Excise(context.WithoutCancel(ctx), *excise)
	case len(s.paths) > 0:
		err = s.ingest(context.WithoutCancel(ctx), excise)
	}
	release() // not if Pebble panicked: nobody knows what there is to read then
	if err != nil {
		return fmt.Errorf("table: ingest: %w", err)
	}
	return nil
}

// discard closes what is open and removes what was not ingested (Ingest removes the rest). It may be called twice.
func (s *sink) discard() {
	for i := range s.streams {
		if w := s.streams[i].w; w != nil {
			_ = w.Close() // the file goes away
			s.streams[i].w = nil
		}
	}
	for _, p := range s.paths {
		// What stays behind, say because the disk is failing, is removed by the next Open.
		_ = s.db.cfg.FS.Remove(p)
	}
	s.paths = nil
}

// removeLeftovers empties the directory of sstables in the making.
func removeLeftovers(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	var errs []error
	for _, n := range names {
		if path.Ext(n) == ".sst" {
			errs = append(errs, fs.Remove(path.Join(dir, n)))
		}
	}
	return errors.Join(errs...)
}
