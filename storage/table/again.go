package table

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
)

// CutAgain notes which frames a table had that was dropped, in the one that is made in its place and is empty still: they are to be cut again at the
// same cuts, of the same starts and times, and Due lists those that the table is not folded to. A fold that cuts where one is due marks the frame as
// Kept if that was. Digests and sizes are those that the folds make. Durable when it returns. Errors: ErrFold where something is folded, or the frames
// are out of order; ErrClosed; ctx's.
func (t *Table) CutAgain(ctx context.Context, frames []Frame) error {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	m := t.state.Load().clone()
	if m.position != 0 || !ascending(frames) {
		return fmt.Errorf("%w: frames are due again in a table at %d", ErrFold, m.position)
	}
	for _, f := range frames {
		if f.Cut > 0 {
			m.due = append(m.due, Frame{Cut: f.Cut, Start: f.Start, CutTimeMs: f.CutTimeMs, Kept: f.Kept})
		}
	}
	s := t.db.sink()
	defer s.discard()
	t.putMeta(s, m)
	if err := s.commit(ctx, nil, t); err != nil {
		return fmt.Errorf("table: frames of ordinal %d that are due again: %w", t.ordinal, err)
	}
	t.state.Store(m)
	return nil
}

// Named returns the retained key frames, and those that are due, ascending: what a cut can be named by. The caller owns the slice.
func (t *Table) Named() []Frame {
	m := t.state.Load()
	return slices.Concat(m.frames, m.due)
}

func ascending(frames []Frame) bool {
	for i := 1; i < len(frames); i++ {
		if frames[i].Cut <= frames[i-1].Cut {
			return false
		}
	}
	return true
}

// Due returns the frames that are to be cut again, ascending: of each, Cut, Start, CutTimeMs and Kept. The caller owns the slice.
func (t *Table) Due() []Frame { return slices.Clone(t.state.Load().due) }

// passDue forgets the frames that are due up to the position, and returns the one that is due there; a Frame of nothing where none is.
func (m *meta) passDue() (here Frame) {
	for len(m.due) > 0 && m.due[0].Cut <= m.position {
		if m.due[0].Cut == m.position {
			here = m.due[0]
		}
		m.due = m.due[1:]
	}
	if len(m.due) == 0 {
		m.due = nil
	}
	return here
}

func appendDue(b []byte, due []Frame) []byte {
	b = binary.AppendUvarint(b, uint64(len(due)))
	for i := range due {
		f := &due[i]
		b = binary.AppendUvarint(b, uint64(f.Cut))
		b = binary.AppendUvarint(b, uint64(f.Start))
		b = binary.AppendVarint(b, f.CutTimeMs)
		kept := byte(0)
		if f.Kept {
			kept = 1
		}
		b = append(b, kept)
	}
	return b
}

func (m *meta) decodeDue(r *reader) bool {
	n := r.uvarint()
	if n > framesMax || n > uint64(len(r.b)) {
		return false
	}
	last := m.position
	for range n {
		f := Frame{Cut: r.offset(), Start: r.offset(), CutTimeMs: r.varint()}
		kept := r.bytes(1)
		if r.bad || f.Cut <= last || kept[0] > 1 {
			return false
		}
		f.Kept, last = kept[0] == 1, f.Cut
		m.due = append(m.due, f)
	}
	return true
}
