package live

import (
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// Offset returns the offset whose state this is.
func (s *Past) Offset() int64 { return s.offset }

// Get returns the key's row; it is valid until the next call.
func (s *Past) Get(key []byte) (frame.Row, bool, error) {
	e := s.iv.find(key)
	if e == nil || e.head == nil {
		return s.below(key)
	}
	r, err := s.row(e)
	return r.row, r.exists && err == nil, err
}

// row folds an entry's chain.
func (s *Past) row(e *entry) (r result, err error) {
	c := column{key: e.key, layers: [2]*node{nil, e.head}}
	var below frame.Row
	exists := false
	if c.needsRow() {
		if below, exists, err = s.below(e.key); err != nil {
			return r, err
		}
	}
	return c.apply(s.kind, s.folder, below, exists)
}

// Scan yields the live rows in key order: the keys with the prefix above after (nil: all with it). A row is valid until the next.
func (s *Past) Scan(prefix, after []byte) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		rows := func(func(frame.Row, error) bool) {}
		if s.view != nil {
			rows = s.kept(s.view.Scan(prefix, after))
		}
		merge(s.kind, s.folder, rows, s.iv.columns(prefix, after, 1), yield)
	}
}

// kept leaves out the rows of the frame that the log start has passed since.
func (s *Past) kept(rows iter.Seq2[frame.Row, error]) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		for row, err := range rows {
			if err == nil && row.Offset < s.start {
				continue
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// Export yields the rows whose last delta lies in [from, Offset), in offset order, with tombstones if asked for. A row is valid until
// the next.
func (s *Past) Export(from int64, tombstones bool) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		if err := s.export(from, tombstones, yield); err != nil {
			yield(frame.Row{}, err)
		}
	}
}

// touched is an entry that changed its key's row, and the offset at which.
type touched struct {
	e      *entry
	offset int64
}

// changed lists the entries that changed their rows, in the offset order of the new ones. Values are not kept: they are folded once
// more when it is their turn.
func (s *Past) changed() (list []touched, keys map[*entry]struct{}, err error) {
	keys = make(map[*entry]struct{}, len(s.iv.entries))
	for _, e := range s.iv.entries {
		if e.head == nil {
			continue
		}
		r, err := s.row(e)
		if err != nil {
			return nil, nil, err
		}
		if r.touched {
			list = append(list, touched{e, r.row.Offset})
			keys[e] = struct{}{}
		}
	}
	slices.SortFunc(list, func(a, b touched) int { return int(a.offset - b.offset) })
	return list, keys, nil
}

// export returns an error only if yield was not told to stop.
func (s *Past) export(from int64, tombstones bool, yield func(frame.Row, error) bool) error {
	list, keys, err := s.changed()
	if err != nil {
		return err
	}
	if s.view != nil {
		for row, err := range s.view.Offsets(max(from, s.start), tombstones) {
			if err != nil {
				return err
			}
			if e := s.iv.find(row.Key); e != nil {
				if _, ok := keys[e]; ok {
					continue
				}
			}
			if !yield(row, nil) {
				return nil
			}
		}
	}
	for _, x := range list {
		if x.offset < max(from, s.start) {
			continue
		}
		r, err := s.row(x.e)
		if err != nil {
			return err
		}
		if (r.exists || tombstones) && !yield(r.row, nil) {
			return nil
		}
	}
	return nil
}

// Digest returns the digest of the live rows: that of the frame below, with the rows exchanged that the deltas changed.
func (s *Past) Digest() (d digest.Digest, err error) {
	if s.view != nil {
		d = s.view.Frame().Digest
	}
	var h digest.Hasher
	for _, e := range s.iv.entries {
		if e.head == nil {
			continue
		}
		below, exists, err := s.stored(e.key)
		if err != nil {
			return d, err
		}
		if exists {
			d.Sub(h.Entry(e.key, below.Value))
		}
		if exists = exists && below.Offset >= s.start; !exists {
			below = frame.Row{Offset: -1}
		}
		c := column{key: e.key, layers: [2]*node{nil, e.head}}
		r, err := c.apply(s.kind, s.folder, below, exists)
		if err != nil {
			return d, err
		}
		if r.exists {
			d.Add(h.Entry(e.key, r.row.Value))
		}
	}
	return d, s.subExpired(&d)
}

// subExpired takes those rows of the frame out that no delta touched and that the log start has passed since.
func (s *Past) subExpired(d *digest.Digest) error {
	if s.view == nil || s.start <= s.view.Frame().Start {
		return nil
	}
	var h digest.Hasher
	for row, err := range s.view.Offsets(s.view.Frame().Start, false) {
		if err != nil {
			return err
		}
		if row.Offset >= s.start {
			return nil
		}
		if e := s.iv.find(row.Key); e == nil || e.head == nil {
			d.Sub(h.Entry(row.Key, row.Value))
		}
	}
	return nil
}
