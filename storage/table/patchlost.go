package table

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
)

// hull is what leaves the database with the lost spans, half-open: the row before the first is with it. So Pebble, which looks in each file for
// the last key that stays before what it excises and for the first behind it, meets blocks that can be read.
func (p *patcher) hull() Span {
	return Span{max(p.lost[0].From-1, 0), p.lost[len(p.lost)-1].To}
}

// move keeps a row that can be read, and that leaves the database with the lost spans, to write it anew.
func (p *patcher) move(r *frame.Row) error {
	if len(p.lost) == 0 {
		return nil
	}
	if h := p.hull(); r.Offset < h.From || r.Offset >= h.To {
		return nil
	}
	x := *r
	x.Key, x.Value, x.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), batch.Headers(bytes.Clone(r.Headers))
	p.moved = append(p.moved, x)
	if p.movedBytes += int64(len(x.Key) + len(x.Value) + len(x.Headers)); p.movedBytes > p.t.db.sizes.windowBytes {
		return fmt.Errorf("%w: more than %d bytes lie between damaged blocks", ErrCorrupt, p.t.db.sizes.windowBytes)
	}
	return nil
}

// lose does with an index entry what row does with a row, if that lies in a lost span.
func (p *patcher) lose(key []byte, e *entry) error {
	if !within(p.lost, e.offset) {
		return nil
	}
	touched := p.touched[string(key)]
	if !e.tombstone && !touched {
		return fmt.Errorf("%w: the row at %d is lost, and not among puts or deletes", ErrPatch, e.offset)
	}
	if _, taken := p.places[e.offset]; taken {
		p.places[e.offset] = true
	} else {
		p.gone = append(p.gone, e.offset)
	}
	if e.tombstone && !touched {
		p.buried = append(p.buried, bytes.Clone(key))
		p.graves = append(p.graves, e.offset)
	}
	return nil
}

// excised is the hull as a range of keys.
func (p *patcher) excised() (*pebble.KeyRange, error) {
	h := p.hull()
	span := &pebble.KeyRange{
		Start: keys.AppendTableOffset(nil, keys.TableRows, p.t.ordinal, h.From),
		End:   keys.AppendTableOffset(nil, keys.TableRows, p.t.ordinal, h.To),
	}
	return span, p.t.db.readableBeside(*span)
}
