package client

import (
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/table"
)

// move is what the log did to a key between a position and the cut of a key frame: the entries of its rows there; zero: there is none.
type move struct{ at, cut digest.Entry }

// carried is a state that stands at a position, as it would stand at the cut of a key frame: each key that the log changed in between has the frame's
// row, and no other key has moved. So it differs from the frame in exactly those keys that were wrong at the position and were left alone
// since; those that the log did change are judged by what it had for them at the position. Which of both lies higher does not matter.
type carried struct {
	rows
	from  int64 // the position
	start int64 // of the log at the position: rows whose last delta lies below it have left
	cut   int64
	moved map[string]move
	// blind: what the log had at the position is not known any more, the start is that of the frame, and keys that have moved are not judged.
	blind bool
	unread
}

// entries visits the rows at the cut.
func (c *carried) entries(visit func(key []byte, e digest.Entry)) (sum digest.Digest, at int64, err error) {
	err = c.each(func(key []byte, e digest.Entry) {
		if _, moved := c.moved[string(key)]; !moved {
			visit(key, e)
			sum.Add(e)
		}
	})
	if err != nil {
		return sum, c.cut, err
	}
	for key, m := range c.moved {
		if m.cut != (digest.Entry{}) {
			visit([]byte(key), m.cut)
			sum.Add(m.cut)
		}
	}
	return sum, c.cut, nil
}

// salvage finds nothing lost: rows that cannot be read are compared as they were applied.
func (c *carried) salvage(visit func(key []byte, e digest.Entry), _ func(table.LostRow)) (sum digest.Digest, at int64, err error) {
	return c.entries(visit)
}

// each visits the rows at the position that the log start has not passed.
func (c *carried) each(visit func(key []byte, e digest.Entry)) error {
	if c.of != nil {
		_, _, err := c.of.salvageFrom(c.start, visit, func(row table.LostRow) { visit(row.Key, row.Entry) })
		return err
	}
	changed, _, err := c.since(c.start, false)
	if err != nil {
		return err
	}
	var h digest.Hasher
	for row, err := range changed {
		if err != nil {
			return err
		}
		visit(row.Key, h.Entry(row.Key, row.Value))
	}
	return nil
}

// digestHere is that of the rows at the position that the log start has not passed.
func (c *carried) digestHere() (d digest.Digest, err error) {
	err = c.each(func(_ []byte, e digest.Entry) { d.Add(e) })
	return d, err
}

// differences are the keys that differ at the position, given what differs at the cut: none of those that have moved.
func (c *carried) differences(atCut []Difference, partition int32) (keys []Difference, err error) {
	for _, d := range atCut {
		if !c.blind {
			d.Cut = c.from
		}
		keys = append(keys, d)
	}
	if len(c.moved) > 0 && !c.blind {
		here := make(map[string]digest.Entry, len(c.moved))
		if err := c.each(func(key []byte, e digest.Entry) {
			if _, moved := c.moved[string(key)]; moved {
				here[string(key)] = e
			}
		}); err != nil {
			return nil, err
		}
		for key, m := range c.moved {
			if e := here[key]; e != m.at {
				keys = append(keys, Difference{Partition: partition, Cut: c.from, Key: []byte(key), Here: e, Log: m.at})
			}
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys, nil
}

// replace puts the log's row in the place of ours in a digest, in which those that cannot be read are as they were applied.
func replace(d *digest.Digest, k Difference) {
	if k.LogUnknown {
		return
	}
	for _, ours := range []digest.Entry{k.Here, k.Applied} {
		if ours != (digest.Entry{}) && !k.Expired {
			d.Sub(ours)
		}
	}
	if k.Log != (digest.Entry{}) {
		d.Add(k.Log)
	}
}
