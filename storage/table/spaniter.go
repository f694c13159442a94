package table

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// spanIter is an iterator over a span of keys that tells damage of what the span has from damage beside it.
//
// Pebble (2.1.7: sstable/reader_iter_single_lvl.go, skipForward) goes from the end of a block to the next one, and looks at the bound when it has read that.
// So where the last key of a span is the last in its block, it reads the first block of what lies behind: of another table, whose damage that is. Likewise
// it looks for the first key in the block before, if all that the index says of this is that no key there is above the lower bound. Whether such a block has
// keys of the span is known without it: the last key below the upper bound is found from the other side.
type spanIter struct {
	it           *pebble.Iterator
	lower, upper []byte
	last         []byte // behind where it stood before Next: nothing else lies between
	err          error  // what it has failed with, and not the iterator, which has been elsewhere since
}

// spanOptions has filters looked at by prefix seeks, in all levels.
func spanOptions(lower, upper []byte) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: lower, UpperBound: upper, UseL6Filters: true}
}

// iterateSpan opens an iterator over [lower, upper) as it is now. No key lies between upper without zeros at its end and upper, unless that is at or below lower.
func (db *DB) iterateSpan(lower, upper []byte) (*spanIter, error) {
	it, err := db.cfg.DB.NewIter(spanOptions(lower, upper))
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	return &spanIter{it: it, lower: lower, upper: upper}, nil
}

// cloneSpan is iterateSpan for what another iterator sees.
func cloneSpan(base *pebble.Iterator, lower, upper []byte) (*spanIter, error) {
	it, err := base.Clone(pebble.CloneOptions{IterOptions: spanOptions(lower, upper)})
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	return &spanIter{it: it, lower: lower, upper: upper}, nil
}

// spaceSpan is one partition's keys in a space.
func spaceSpan(space keys.TableSpace, ordinal uint32) (lower, upper []byte) {
	lower, upper = keys.TableSpan(space, ordinal)
	if space != keys.TableIndex && space != keys.TableMeta {
		lower = append(lower, 0) // of an offset: so the bound is above what the index says of a block before
	}
	return lower, upper
}

// iterate opens an iterator over one partition's keys in a space.
func (db *DB) iterate(space keys.TableSpace, ordinal uint32) (*spanIter, error) {
	return db.iterateSpan(spaceSpan(space, ordinal))
}

func (s *spanIter) First() bool { return s.SeekGE(s.lower) }

func (s *spanIter) SeekGE(k []byte) bool {
	s.err = nil
	if s.it.SeekGE(k) {
		return s.inOrder(k, s.upper)
	}
	s.ended(k)
	if pebble.IsCorruptionError(s.err) && bytes.Compare(k, s.lower) <= 0 {
		// A block before can only have the bound itself, and what a filter does not know is not there.
		if !s.it.SeekPrefixGE(s.lower) && s.it.Error() == nil {
			if there := s.it.SeekGE(append(bytes.Clone(s.lower), 0)); s.it.Error() == nil {
				s.err = nil
				return there && s.inOrder(s.lower, s.upper)
			}
		}
	}
	return false
}

func (s *spanIter) Next() bool {
	if s.err != nil {
		return false
	}
	s.last = append(append(s.last[:0], s.it.Key()...), 0)
	if s.it.Next() {
		return s.inOrder(s.last, s.upper)
	}
	s.ended(s.last)
	return false
}

// ended finds out whether there is really no key from k on, where Pebble has found none.
func (s *spanIter) ended(k []byte) {
	err := s.it.Error()
	if !pebble.IsCorruptionError(err) {
		return
	}
	limit := bytes.TrimRight(s.upper, "\x00") // what the index says of the last block may be below the bound by these
	if bytes.Compare(limit, s.lower) <= 0 {
		limit = s.upper
	}
	if below := s.it.SeekLT(limit); s.it.Error() != nil || below && bytes.Compare(s.it.Key(), k) >= 0 {
		s.err = err
	}
}

func (s *spanIter) SeekLT(k []byte) bool {
	s.err = nil
	if s.it.SeekLT(k) {
		return s.inOrder(s.lower, k)
	}
	err := s.it.Error()
	if pebble.IsCorruptionError(err) && (s.First() && bytes.Compare(s.Key(), k) < 0 || s.Error() != nil) {
		s.err = err
	}
	return false
}

// inOrder refuses the key that the iterator stands at, unless it is in [from, to), where a move was to go. Pebble takes from the MANIFEST what keys an sstable
// has, and the first key of the next one as it comes: if that is another file, whoever seeks on from one key to the next might do so for ever.
func (s *spanIter) inOrder(from, to []byte) bool {
	k := s.it.Key()
	if bytes.Compare(k, from) < 0 || bytes.Compare(k, to) >= 0 {
		s.err = outOfOrder(s.lower)
		return false
	}
	return true
}

func outOfOrder(key []byte) error {
	space, ordinal, _, _ := keys.ParseTableKey(key)
	return &CorruptError{Ordinal: ordinal, What: fmt.Sprintf("order of the keys in space %#x", space), Offset: -1, Why: "one comes where it does not belong: an sstable is not what was written"}
}

// Key is valid until the iterator moves.
func (s *spanIter) Key() []byte { return s.it.Key() }

// ValueAndErr is that of a pebble.Iterator.
func (s *spanIter) ValueAndErr() ([]byte, error) { return s.it.ValueAndErr() }

// Error is what the last move has failed with.
func (s *spanIter) Error() error { return cmp.Or(s.err, s.it.Error()) }

// Close says again what the last move has failed with.
func (s *spanIter) Close() error {
	err := s.it.Close()
	return cmp.Or(s.err, err)
}

// absent returns nil where it is shown, by an iterator of this kind, that a key is not there which Pebble has failed to read; else what it has failed with.
func absent(k []byte, err error, open func(lower, upper []byte) (*spanIter, error)) error {
	if !pebble.IsCorruptionError(err) {
		return err
	}
	it, oerr := open(bytes.Clone(k), append(bytes.Clone(k), 0))
	if oerr != nil {
		return err
	}
	if there := it.First(); it.Close() != nil || there {
		return err
	}
	return nil
}
