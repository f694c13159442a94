package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// Scrub is how far ScrubFrame has come: a Verify of one frame in pieces, so that it can be as slow as it likes without pinning anything: a
// frame is immutable, and what is hashed of it stays so while the frame is there. The zero value begins with the newest frame. It has
// nothing to do with Table.Scrub, which compares rows with their index entries.
type Scrub struct {
	frame Frame
	begun bool
	next  int64 // everything below is read
	sum   digest.Digest
	lost  bool // a frame went before it was read to its end
}

// Cut returns which frame it reads, and whether it has begun one.
func (s *Scrub) Cut() (cut int64, begun bool) { return s.frame.Cut, s.begun }

// ScrubFrame reads up to rows more rows, or a KiB for each, and returns how many rows and bytes it has read. done: to the end of the frame, or
// there is none; the errors are Verify's. Where the frame is gone meanwhile it begins anew, with the oldest one, which goes last.
func (t *Table) ScrubFrame(ctx context.Context, s *Scrub, rows int) (n int, bytes int64, done bool, err error) {
	if !s.begun && !s.begin(t.Frames()) {
		return 0, 0, true, nil
	}
	v, err := t.View(s.frame.Cut)
	if errors.Is(err, ErrNoFrame) || err == nil && v.f != s.frame {
		*s = Scrub{lost: true}
		if err == nil {
			err = v.Close()
		} else {
			err = nil
		}
		return 0, 0, false, err
	}
	if err != nil {
		return 0, 0, false, t.damaged(s.frame.Cut, err)
	}
	defer v.Close()
	var h digest.Hasher
	more, err := v.offsets(s.next, false, func(r *frame.Row) bool {
		s.sum.Add(h.Entry(r.Key, r.Value))
		s.next = r.Offset + 1
		n++
		bytes += int64(len(r.Key) + len(r.Value) + len(r.Headers))
		return n < rows && bytes < int64(rows)<<10 && ctx.Err() == nil
	})
	switch {
	case err != nil:
		return n, bytes, false, t.damaged(s.frame.Cut, fmt.Errorf("behind the rows below offset %d: %w", s.next, err))
	case more:
		return n, bytes, false, ctx.Err()
	case s.sum != s.frame.Digest:
		return n, bytes, false, t.differs(&s.frame, s.sum)
	}
	return n, bytes, true, nil
}

func (s *Scrub) begin(frames []Frame) bool {
	if len(frames) == 0 {
		return false
	}
	s.frame, s.begun = frames[len(frames)-1], true
	if s.lost {
		s.frame = frames[0]
	}
	return true
}
