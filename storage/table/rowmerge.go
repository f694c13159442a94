package table

import (
	"fmt"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// rowSource is a stream of rows in offset order: TableRows, or an era of TablePast.
type rowSource struct {
	it     *spanIter
	past   bool
	offset int64
	ok     bool
}

// rowMerge goes through the rows stored in a range of offsets, in their order, whether they are still in TableRows or not. Each is in one place.
type rowMerge struct {
	ordinal uint32
	cut     int64 // past rows of lower cuts are passed by
	sources []*rowSource
	current *rowSource
}

// openRows prepares what is stored in [from, end) of the rows that a reader needs who takes settled rows of lower cuts than cut for dead.
func (v *View) openRows(from, end, cut int64) (*rowMerge, error) {
	m := &rowMerge{ordinal: v.t.ordinal, cut: cut}
	add := func(lower, upper []byte, past bool) error {
		it, err := v.span(lower, upper)
		if err == nil {
			m.sources = append(m.sources, &rowSource{it: it, past: past})
		}
		return err
	}
	err := add(v.rowsKey(from), v.rowsKey(end), false)
	for _, era := range v.erasFor(cut) {
		if err == nil {
			err = add(keys.AppendTablePast(nil, m.ordinal, era, from), keys.AppendTablePast(nil, m.ordinal, era, end), true)
		}
	}
	if err != nil {
		return nil, damage.Join(err, m.close())
	}
	return m, nil
}

func (m *rowMerge) close() (err error) {
	for _, s := range m.sources {
		err = damage.Join(err, s.it.Close())
	}
	return err
}

// next goes to the next row; nil: there is none. What lies behind the current one is not read before.
func (m *rowMerge) next() (*rowSource, error) {
	if m.current == nil {
		for _, s := range m.sources {
			if err := m.take(s, s.it.First()); err != nil {
				return nil, err
			}
		}
	} else if err := m.take(m.current, m.current.it.Next()); err != nil {
		return nil, err
	}
	m.current = nil
	for _, s := range m.sources {
		if s.ok && (m.current == nil || s.offset < m.current.offset) {
			m.current = s
		}
	}
	return m.current, nil
}

// take leaves a source at the next row that counts, once its iterator was moved.
func (m *rowMerge) take(s *rowSource, ok bool) error {
	for ; ok; ok = s.it.Next() {
		rest, cut, good := s.it.Key()[keys.TablePrefixLen:], int64(0), true
		if s.past {
			if cut, good = cutOf(s.it.Key()); good {
				rest = rest[8:]
			}
		}
		if s.offset, s.ok = keys.ParseTableOffset(rest); !good || !s.ok {
			return &CorruptError{Ordinal: m.ordinal, What: "key", Offset: -1, Why: "malformed"}
		}
		if !s.past || cut >= m.cut {
			return nil
		}
	}
	s.ok = false
	if err := damage.Of(s.it.Error()); err != nil {
		return fmt.Errorf("table: read rows of ordinal %d: %w", m.ordinal, err)
	}
	return nil
}
