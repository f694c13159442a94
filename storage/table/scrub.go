package table

import (
	"bytes"
	"context"
	"errors"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
)

// Scrub reads back what a table stores, piece by piece, so that it can be as slow as it likes: between two pieces nothing is pinned, and the table
// goes on changing. It is one pass, of one of two kinds:
//
//   - ScrubFrame sums up the rows of a frame, which is immutable, and compares the sum with the frame's digest: a row that is missing is missed. It
//     is for tables whose frames stay, as a broker's.
//   - ScrubRows compares each row at Position with the hash that its index entry has. It is for tables whose frames do not stay, as a replica's. The
//     index itself is not proved: an entry that is missing is not missed.
//
// Where a block is read from, see Verify. A Scrub belongs to one goroutine.
type Scrub struct {
	t *Table
	p pass
}

// pass is what a kind of scrub remembers between two pieces.
type pass interface {
	// at returns the cut of the view that is read next; false: there is none.
	at(t *Table) (cut int64, ok bool)
	// goes says that the view is another one than before, or gone (nil), and whether the pass begins anew for it.
	goes(v *View) bool
	read(ctx context.Context, v *View, limit int) (Piece, error)
}

// Piece is what one step of a Scrub has read.
type Piece struct {
	Rows  int
	Bytes int64 // of keys, values and, but for ScrubRows, headers
	Done  bool  // the pass has come to its end, and found nothing damaged
}

// ScrubFrame begins a pass over the newest frame. Where that goes meanwhile, the pass begins anew with the oldest, which goes last. Without a
// frame it ends at once.
func (t *Table) ScrubFrame() *Scrub { return &Scrub{t: t, p: &framePass{}} }

// ScrubRows begins a pass over the rows at Position, in key order.
func (t *Table) ScrubRows() *Scrub { return &Scrub{t: t, p: &rowPass{}} }

// Next reads limit rows at most, of a frame a KiB for each at most. Errors: Verify's, and ErrNoFrame never.
func (s *Scrub) Next(ctx context.Context, limit int) (p Piece, err error) {
	cut, ok := s.p.at(s.t)
	if !ok {
		return Piece{Done: true}, nil
	}
	v, err := s.t.View(cut)
	if errors.Is(err, ErrNoFrame) {
		s.p.goes(nil)
		return Piece{}, nil
	}
	if err != nil {
		return Piece{}, s.t.damaged(cut, err)
	}
	defer func() { err = s.t.damaged(v.f.Cut, damage.Join(err, v.Close())) }()
	if s.p.goes(v) {
		return Piece{}, nil
	}
	return s.p.read(ctx, v, limit)
}

// Cut returns which frame is read, and whether one has been begun.
func (s *Scrub) Cut() (cut int64, begun bool) {
	if p, ok := s.p.(*framePass); ok {
		return p.frame.Cut, p.begun
	}
	return 0, false
}

// framePass is ScrubFrame's.
type framePass struct {
	frame Frame
	begun bool
	lost  bool // a frame went before it was read to its end
	tally tally
}

func (p *framePass) at(t *Table) (cut int64, ok bool) {
	frames := t.Frames()
	if !p.begun && len(frames) > 0 {
		p.frame, p.begun = frames[len(frames)-1], true
		if p.lost {
			p.frame = frames[0]
		}
	}
	return p.frame.Cut, p.begun
}

func (p *framePass) goes(v *View) bool {
	if v != nil && v.f.same(&p.frame) {
		return false
	}
	*p = framePass{lost: true}
	return true
}

func (p *framePass) read(ctx context.Context, v *View, limit int) (piece Piece, err error) {
	piece, err = p.tally.read(ctx, v, limit)
	if got := &p.tally.rows; err == nil && piece.Done && got.Digest() != p.frame.Digest {
		piece.Done, err = false, v.t.differs(&p.frame, got.Digest())
	}
	return piece, err
}

// rowPass is ScrubRows'.
type rowPass struct {
	after  []byte // up to here; nil: none is
	hasher digest.Hasher
}

func (p *rowPass) at(*Table) (cut int64, ok bool) { return Current, true }
func (p *rowPass) goes(*View) bool                { return false }

func (p *rowPass) read(ctx context.Context, v *View, limit int) (piece Piece, err error) {
	if err := ctx.Err(); err != nil {
		return piece, err
	}
	merged, err := v.openIndex(nil, p.after)
	if err != nil {
		return piece, err
	}
	defer func() { err = damage.Join(err, merged.close()) }()
	rows, err := v.findRows()
	if err != nil {
		return piece, err
	}
	defer func() { err = damage.Join(err, rows.close()) }()
	g := page{rows: rows, hashed: true}
	more, err := g.fill(merged, limit)
	if err == nil {
		err = g.lookUp()
	}
	if err != nil {
		return piece, err
	}
	for i, e := range p.hasher.Entries(len(g.found), func(i int) (key, value []byte, ok bool) { return g.found[i].Key, g.found[i].Value, true }) {
		r := &g.found[i]
		if e != g.hashes[i] {
			return piece, &CorruptError{Ordinal: v.t.ordinal, What: "row", Offset: r.Offset, Why: "does not hash to what its index entry says"}
		}
		piece.Rows++
		piece.Bytes += int64(len(r.Key) + len(r.Value))
	}
	if piece.Done = !more; more {
		p.after = bytes.Clone(g.found[len(g.found)-1].Key)
	}
	return piece, nil
}

// tally sums up the rows of a view, in offset order.
type tally struct {
	rows digest.Adder
	next int64 // everything below is read
}

// read goes on by limit rows, or a KiB for each; 0: to the end. Done: that is reached. Errors: of what is read, and ctx's.
func (y *tally) read(ctx context.Context, v *View, limit int) (p Piece, err error) {
	more, err := v.offsets(y.next, false, func(r *frame.Row) bool {
		y.rows.Add(r.Key, r.Value)
		y.next = r.Offset + 1
		p.Rows++
		p.Bytes += int64(len(r.Key) + len(r.Value) + len(r.Headers))
		if limit > 0 && (p.Rows >= limit || p.Bytes >= int64(limit)<<10) {
			return false
		}
		return p.Rows%ctxRows != 0 || ctx.Err() == nil
	})
	switch {
	case err != nil:
		return p, behind(y.next, err)
	case more:
		return p, ctx.Err()
	}
	p.Done = true
	return p, nil
}

// ctxRows is how many rows are read before somebody who gave up is noticed.
const ctxRows = 1024
