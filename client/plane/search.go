package plane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
)

const (
	// callTries is how often a call is made that fails for a reason that may pass.
	callTries = 4
	// callTime bounds one call.
	callTime = 2 * time.Minute
	// patience is how long a search waits for a broker that is busy with those of others, since it answered last.
	patience = 2 * time.Minute
)

// ErrTooMuch says that a way of finding out what differs costs more than another one.
var ErrTooMuch = errors.New("so much differs that the whole frame costs less")

// Patience makes the calls of a search, and makes them again where that may help.
type Patience struct {
	retry time.Duration
	now   func() time.Time
	until time.Time
}

// NewPatience begins a search. retry is the first pause after a call that failed.
func NewPatience(retry time.Duration, now func() time.Time) *Patience {
	return &Patience{retry, now, now().Add(patience)}
}

// NoPatience begins a search that does not wait for a busy broker before that has answered.
func NoPatience(retry time.Duration, now func() time.Time) *Patience {
	return &Patience{retry, now, now()}
}

// Call makes a call; its error is one of ClassifyRepair's.
func (a *Patience) Call(ctx context.Context, fn func(context.Context) error) error {
	for try := 1; ; try++ {
		callCtx, cancel := context.WithTimeout(ctx, callTime)
		err := ClassifyRepair(fn(callCtx))
		slow := callCtx.Err() != nil // the next would take as long
		cancel()
		again := try < callTries && Passing(err) && !slow || errors.Is(err, ErrBusy) && a.now().Before(a.until)
		if err == nil {
			a.until = a.now().Add(patience)
		}
		if err == nil || ctx.Err() != nil || !again {
			return err
		}
		pause := a.retry << min(try-1, 5)
		if err := Wait(ctx, pause/2+rand.N(pause)); err != nil { // not all at once
			return err
		}
	}
}

// Search looks for what differs between rows of our own and those of one or more frames of different partitions: a row of ours may be in any.
type Search struct {
	*Patience
	Frames []*Repair
}

// rows is how many rows the frames have together.
func (s Search) rows() (n int64) {
	for _, r := range s.Frames {
		n += r.Of.Digest.Count
	}
	return n
}

// BySketch decodes the difference from cells, as long as these cost less than the tags do: theirs are tags of rows that only the frames have, each once.
// Errors: ErrTooMuch, those of package sketch, and the calls'.
func (s Search) BySketch(ctx context.Context, own []uint64) (theirs, ours []uint64, err error) {
	d := sketch.NewDecoder(own)
	most := 8 * max(s.rows(), int64(len(own)))
	spent := int64(0)
	for n := d.More(); n > 0; n = d.More() {
		if done := int64(d.Cells()); done > 0 && spent+spent*int64(n)/done > most {
			return nil, nil, fmt.Errorf("%w: %d cells do not tell what differs", ErrTooMuch, done)
		}
		cells, size, err := s.cells(ctx, d.Cells(), n)
		if err != nil {
			return nil, nil, err
		}
		spent += size
		if _, err := d.Add(cells); err != nil {
			return nil, nil, err
		}
	}
	theirs, ours = d.Difference()
	return theirs, ours, nil
}

// cells asks each frame for the same cells; those of different partitions add up to those of all.
func (s Search) cells(ctx context.Context, first, n int) (sum []sketch.Cell, size int64, err error) {
	sum = make([]sketch.Cell, n)
	for _, r := range s.Frames {
		err := s.Call(ctx, func(ctx context.Context) error {
			cells, bytes, err := r.Sketch(ctx, first, n)
			if err != nil {
				return err
			}
			size += bytes
			for i, c := range cells {
				sum[i].Merge(c)
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return sum, size, nil
}

// ByTags fetches the tags of all rows and compares. A tag that is in the frames more often than in ours is among theirs as often as it is more.
func (s Search) ByTags(ctx context.Context, own []uint64) (theirs, ours []uint64, err error) {
	var all []uint64
	for _, r := range s.Frames {
		if err := s.Call(ctx, func(ctx context.Context) error {
			tags, err := r.Tags(ctx)
			if err == nil {
				all = append(all, tags...)
			}
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	own = slices.Clone(own)
	slices.Sort(all)
	slices.Sort(own)
	for len(all) > 0 && len(own) > 0 {
		switch {
		case all[0] == own[0]:
			all, own = all[1:], own[1:]
		case all[0] < own[0]:
			theirs, all = append(theirs, all[0]), all[1:]
		default:
			ours, own = append(ours, own[0]), own[1:]
		}
	}
	return append(theirs, all...), append(ours, own...), nil
}

// Row is a row of a frame, and its entry.
type Row struct {
	Partition int32
	frame.Row
	Entry digest.Entry
}

// Resolve fetches the rows with the tags, from whichever frame has them, and takes none that was not asked for. A tag that no frame has is ErrLied.
// The rows take at most bytesMax bytes together, 128 for each beside its key, value and headers, else ErrTooMuch.
func (s Search) Resolve(ctx context.Context, tags []uint64, bytesMax int) (rows []Row, err error) {
	for part := range slices.Chunk(tags, TagsInRequest) {
		missing := make(map[uint64]bool, len(part))
		for _, t := range part {
			missing[t] = true
		}
		for _, r := range s.Frames {
			var found []Row
			if err := s.Call(ctx, func(ctx context.Context) (err error) {
				found, err = r.fetch(ctx, part, bytesMax)
				return err
			}); err != nil {
				return nil, err
			}
			for _, row := range found {
				delete(missing, TagOf(row.Entry))
				bytesMax -= size(row.Row)
			}
			rows = append(rows, found...)
		}
		if len(missing) > 0 {
			return nil, fmt.Errorf("%w: %d tags of its own have no row", ErrLied, len(missing))
		}
	}
	return rows, nil
}

// fetch makes one call of Resolve.
func (r *Repair) fetch(ctx context.Context, tags []uint64, bytesMax int) (rows []Row, err error) {
	var h digest.Hasher
	asked := make(map[uint64]bool, len(tags))
	for _, t := range tags {
		asked[t] = true
	}
	err = r.Resolve(ctx, tags, func(row frame.Row) error {
		e := h.Entry(row.Key, row.Value)
		if !asked[TagOf(e)] {
			return fmt.Errorf("%w: the row of key %.128q has a tag that was not asked for", ErrLied, row.Key)
		}
		if bytesMax -= size(row); bytesMax < 0 {
			return fmt.Errorf("%w: rows of too many bytes", ErrTooMuch)
		}
		rows = append(rows, Row{r.Of.Partition, row, e})
		return nil
	})
	return rows, err
}

// rowBytes is what a row takes beside its bytes.
const rowBytes = 128

func size(row frame.Row) int { return rowBytes + len(row.Key) + len(row.Value) + len(row.Headers) }

// TagOf is the tag of a row's entry as sketches have it.
func TagOf(e digest.Entry) uint64 {
	t := e.Tag()
	return binary.BigEndian.Uint64(t[:])
}
