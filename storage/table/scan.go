package table

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

const (
	scanRowsMin  = 64      // a first page, for those who want a few rows
	scanRowsMax  = 1 << 16 // rows looked up together
	scanBytesMax = 8 << 20 // held for them
)

// Scan yields the live rows as of the view in key order: the keys with the prefix that lie above after (nil: all with the prefix).
// A row is valid until the next.
//
// Rows lie in offset order, so a page of index entries is read, sorted by offset, looked up, and put back in key order.
func (v *View) Scan(prefix, after []byte) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		stopped, err := v.scan(prefix, after, yield)
		if err != nil && !stopped {
			yield(frame.Row{}, v.t.damaged(v.f.Cut, err))
		}
	}
}

func (v *View) scan(prefix, after []byte, yield func(frame.Row, error) bool) (stopped bool, err error) {
	merged, err := v.openIndex(prefix, after)
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, merged.close()) }()
	rows, err := v.findRows()
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, rows.close()) }()
	p := page{rows: rows}
	for limit := scanRowsMin; ; limit = min(limit*4, scanRowsMax) {
		more, err := p.fill(merged, limit)
		if err != nil {
			return false, err
		}
		if err := p.lookUp(); err != nil {
			return false, err
		}
		for i := range p.found {
			if !yield(p.found[i], nil) {
				return true, nil
			}
		}
		if !more {
			return false, nil
		}
	}
}

// page is a run of index entries in key order, and their rows.
type page struct {
	rows    *rowFinder
	entries []at // offset, place in key order
	keys    []byte
	ends    []int
	bytes   int64
	order   []at
	values  []byte
	found   []frame.Row
	hashed  bool           // hashes are wanted
	hashes  []digest.Entry // of entries
}

func (p *page) fill(m *mergedIndex, limit int) (more bool, err error) {
	p.clear()
	for len(p.entries) < limit && p.bytes < scanBytesMax {
		key, e, ok, err := m.next()
		if err != nil || !ok {
			return false, err
		}
		if !e.tombstone {
			p.add(key, &e)
		}
	}
	return true, nil
}

func (p *page) clear() {
	p.entries, p.keys, p.ends, p.bytes, p.hashes = p.entries[:0], p.keys[:0], p.ends[:0], 0, p.hashes[:0]
}

func (p *page) add(key []byte, e *entry) {
	p.entries = append(p.entries, at{e.offset, int32(len(p.entries))})
	p.keys = append(p.keys, key...)
	p.ends = append(p.ends, len(p.keys))
	p.bytes += int64(len(key)) + int64(e.valueLen)
	if p.hashed {
		p.hashes = append(p.hashes, e.hash)
	}
}

func (p *page) lookUp() error {
	p.order = append(p.order[:0], p.entries...)
	slices.SortFunc(p.order, byOffset)
	p.found = resize(p.found, len(p.entries))
	p.values = p.values[:0]
	p.rows.restart()
	type span struct{ header, value, end int }
	spans := make([]span, len(p.entries))
	for _, o := range p.order {
		begin := 0
		if o.i > 0 {
			begin = p.ends[o.i-1]
		}
		r, err := p.rows.row(o.offset, p.keys[begin:p.ends[o.i]])
		if err != nil {
			return err
		}
		s := span{header: len(p.values)}
		p.values = append(p.values, r.Headers...)
		s.value = len(p.values)
		p.values = append(p.values, r.Value...)
		s.end = len(p.values)
		spans[o.i] = s
		f := &p.found[o.i]
		*f = frame.Row{Key: p.keys[begin:p.ends[o.i]:p.ends[o.i]], Offset: r.Offset, Timestamp: r.Timestamp}
		if r.Headers != nil {
			f.Headers = batch.Headers{} // filled in below, when p.values no longer moves
		}
	}
	for i := range p.found {
		s, f := spans[i], &p.found[i]
		f.Value = p.values[s.value:s.end:s.end]
		if f.Headers != nil {
			f.Headers = batch.Headers(p.values[s.header:s.value:s.value])
		}
	}
	return nil
}

// mergedIndex walks over the index as a frame saw it: the undo entries of the intervals after it lie over the index, the earliest
// first.
type mergedIndex struct {
	ordinal uint32
	layers  []layer // in order of precedence
	current []byte
}

type layer struct {
	it   *spanIter
	skip int // bytes before the record key
	ok   bool
}

func (v *View) openIndex(prefix, after []byte) (*mergedIndex, error) {
	return v.openLayers(v.indexHeads(v.undo), prefix, after)
}

// indexHeads are what the keys of the frame's index begin with: in its undo entries under the cuts, which come first, and in the index.
func (v *View) indexHeads(undo []int64) [][]byte {
	return append(v.undoHeads(undo), keys.AppendTablePrefix(nil, keys.TableIndex, v.t.ordinal))
}

func (v *View) undoHeads(cuts []int64) (heads [][]byte) {
	for _, cut := range cuts {
		heads = append(heads, keys.AppendTableUndo(nil, v.t.ordinal, cut, nil))
	}
	return heads
}

func (v *View) openLayers(heads [][]byte, prefix, after []byte) (*mergedIndex, error) {
	m := &mergedIndex{ordinal: v.t.ordinal}
	add := func(head []byte) error {
		lower := slices.Concat(head, prefix)
		upper := successor(lower)
		if after != nil && bytes.Compare(after, prefix) >= 0 {
			lower = append(slices.Concat(head, after), 0)
		}
		it, err := v.span(lower, upper)
		if err != nil {
			return err
		}
		m.layers = append(m.layers, layer{it, len(head), it.First()})
		return damage.Of(it.Error())
	}
	for _, head := range heads {
		if err := add(head); err != nil {
			return nil, damage.Join(err, m.close())
		}
	}
	return m, nil
}

// successor returns the lowest key above all keys with the prefix, which begins with a space byte and so is never all 0xff.
func successor(prefix []byte) []byte {
	s := bytes.Clone(prefix)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] != 0xff {
			s[i]++
			return s[:i+1]
		}
	}
	return nil
}

func (m *mergedIndex) close() error {
	var err error
	for i := range m.layers {
		err = damage.Join(err, m.layers[i].it.Close())
	}
	return err
}

func (l *layer) key() []byte { return l.it.Key()[l.skip:] }

// next returns the next key that the frame has, tombstones included. The key is valid until the next call.
func (m *mergedIndex) next() (key []byte, e entry, ok bool, err error) {
	for {
		key, e, present, ok, err := m.step()
		if err != nil || !ok || present {
			return key, e, ok && err == nil, err
		}
	}
}

// step returns the next key that any layer names; present is false where the frame had no such key.
func (m *mergedIndex) step() (key []byte, e entry, present, ok bool, err error) {
	first := -1
	for i := range m.layers {
		if m.layers[i].ok && (first < 0 || bytes.Compare(m.layers[i].key(), m.layers[first].key()) < 0) {
			first = i
		}
	}
	if first < 0 {
		return nil, e, false, false, m.failed()
	}
	m.current = append(m.current[:0], m.layers[first].key()...)
	key = m.current
	b, err := m.layers[first].it.ValueAndErr()
	if err != nil {
		return nil, e, false, false, err
	}
	if present = len(b) > 0; present {
		if e, err = decodeEntry(m.ordinal, b); err != nil {
			return nil, e, false, false, err
		}
	}
	for i := first; i < len(m.layers); i++ {
		if l := &m.layers[i]; l.ok && bytes.Equal(l.key(), key) {
			l.ok = l.it.Next()
		}
	}
	return key, e, present, true, nil
}

func (m *mergedIndex) failed() error {
	var err error
	for i := range m.layers {
		err = errors.Join(err, damage.Of(m.layers[i].it.Error()))
	}
	return err
}
