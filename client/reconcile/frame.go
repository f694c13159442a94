package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// owned is a tag of the source, and where the log has a row with it; nowhere: it has none.
type owned struct {
	tag       uint64
	partition int32
}

const nowhere = -1

// byFrame reads whole frames.
func (c *comparison) byFrame(ctx context.Context, g group) (found, error) {
	own := make([]owned, len(g.own))
	for i, t := range g.own {
		own[i] = owned{t, nowhere}
	}
	slices.SortFunc(own, func(a, b owned) int { return compareTags(a.tag, b.tag) })
	var f found
	var h digest.Hasher
	for _, r := range g.frames {
		var got digest.Digest
		err := c.load(ctx, plane.Whole(r.Of.Partition, r.Of.Cut), r.Of, func(row frame.Row) {
			e := h.Entry(row.Key, row.Value)
			got.Add(e)
			if !match(own, plane.TagOf(e), r.Of.Partition) {
				f.add(string(row.Key), logRow{r.Of.Partition, e})
			}
		})
		if err == nil && got != r.Of.Digest {
			err = fmt.Errorf("%w: the rows of the frame at %d of partition %d are not those of its digest", plane.ErrLied, r.Of.Cut, r.Of.Partition)
		}
		if err != nil {
			return found{}, err
		}
	}
	for _, o := range own {
		if o.partition == nowhere {
			f.tags = append(f.tags, o.tag)
		}
	}
	f.places = func(_ context.Context, tags []uint64) (map[uint64][]logRow, error) {
		places := map[uint64][]logRow{}
		for _, t := range tags {
			if i, ok := findTag(own, t); ok {
				places[t] = append(places[t], logRow{partition: own[i].partition})
			}
		}
		return places, nil
	}
	return f, nil
}

func compareTags(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func findTag(own []owned, tag uint64) (int, bool) {
	return slices.BinarySearchFunc(own, tag, func(o owned, t uint64) int { return compareTags(o.tag, t) })
}

// match notes that the log has a row with a tag. False: the source has none, or not as many.
func match(own []owned, tag uint64, partition int32) bool {
	i, ok := findTag(own, tag)
	for ; ok && i < len(own) && own[i].tag == tag; i++ {
		if own[i].partition == nowhere {
			own[i].partition = partition
			return true
		}
	}
	return false
}

// load visits the rows of a frame, or of what changed in it. A row is valid during the visit.
func (c *comparison) load(ctx context.Context, name plane.FrameName, f plane.Frame, visit func(frame.Row)) error {
	var body *plane.Download
	err := c.call(ctx, func(context.Context) (err error) { // which ends before the body does
		body, err = c.cfg.Plane.Download(ctx, name, name.ETag(f.Pub), c.cfg.Retry)
		return err
	})
	if err != nil {
		return err
	}
	defer body.Close()
	defer func() { c.bytes += body.At }()
	fr, err := f.Read(body, name)
	if err != nil {
		return err
	}
	var memory []byte
	for {
		block, err := fr.Next(memory)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for row, err := range block.Rows() {
			if err != nil {
				return err
			}
			visit(row)
		}
		memory = block.Bytes()
	}
}
