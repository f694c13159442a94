package table

import (
	"fmt"
	"iter"
	"math"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
)

// markWindow is how many offsets are marked dead or alive at a time: 32 KiB of bits, whatever range a scan covers.
const markWindow = 1 << 18

// marks tells for a window of offsets which are dead. The window moves up with the scan.
type marks struct {
	list *deadList
	lo   int64
	hi   int64
	bits [markWindow / 64]uint64
}

// dead tells whether the row at an offset is dead; offsets ascend.
func (m *marks) dead(offset int64) (bool, error) {
	if offset >= m.hi {
		if m.hi > m.lo {
			clear(m.bits[:])
		}
		m.lo = offset
		m.hi = offset + min(markWindow, math.MaxInt64-offset)
		err := m.list.below(m.hi, func(o, _ int64) {
			if i := o - m.lo; i >= 0 {
				m.bits[i/64] |= 1 << (i % 64)
			}
		})
		if err != nil {
			return false, err
		}
	}
	i := offset - m.lo
	return m.bits[i/64]&(1<<(i%64)) != 0, nil
}

// Offsets yields the rows as of the view whose last delta lies in [from, End), in offset order: from = 0 without tombstones is the
// whole frame; from = c with tombstones, for c at or above Horizon, is what changed since c. A row is valid until the next.
func (v *View) Offsets(from int64, tombstones bool) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		stopped, err := v.offsets(max(from, 0), tombstones, func(r *frame.Row) bool { return yield(*r, nil) })
		if err != nil && !stopped {
			yield(frame.Row{}, v.t.damaged(v.f.Cut, err))
		}
	}
}

func (v *View) offsets(from int64, tombstones bool, fn func(*frame.Row) bool) (stopped bool, err error) {
	return v.rows(from, v.f.Cut, frameAt(v.f.Cut), tombstones, fn)
}

// rows visits the rows stored in [from, end), less those that are superseded.
func (v *View) rows(from, end int64, superseded standing, tombstones bool, fn func(*frame.Row) bool) (stopped bool, err error) {
	if from >= end {
		return false, nil
	}
	list, err := newDeadList(v.base, v.t.ordinal, from, superseded)
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, list.close()) }()
	stored, err := v.openRows(from, end, superseded.cut)
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, stored.close()) }()
	m := &marks{list: list}
	var row frame.Row // one for all: fn makes it escape
	for {
		s, err := stored.next()
		if err != nil || s == nil {
			return false, err
		}
		if !s.past {
			if dead, err := m.dead(s.offset); dead || err != nil {
				if err != nil {
					return false, err
				}
				continue
			}
		}
		b, err := s.it.ValueAndErr()
		if err != nil {
			return false, fmt.Errorf("table: read row at %d of ordinal %d: %w", s.offset, v.t.ordinal, err)
		}
		if row, err = decodeRow(v.t.ordinal, s.offset, b); err != nil {
			return false, err
		}
		if row.Tombstone && !tombstones {
			continue
		}
		if !fn(&row) {
			return true, nil
		}
	}
}
